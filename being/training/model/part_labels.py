"""Part labels: which part of the person each Gaussian belongs to, updated from the segmentation masks while training.

Gaussians start with the part of the pixel that they were lifted from. Then they move, split and clone, and a few end up
on another part: a piece of jaw that follows the shoulders tears when the head turns, a piece of collar that the sound
moves flickers. So now and then the resting person is drawn in some training poses, every Gaussian's visible weight
is counted on head, neck and torso, and its head weight and audio gate are led towards what was counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from being.dataset.parsing import HEAD, NECK, TORSO
from being.model import Gaussians, assemble
from being.raster import Cameras, Splats, rasterize
from being.training.data.face import FaceRegion
from being.training.data.footage import Footage
from being.training.model.drawing import RenderSettings
from being.training.model.parameters import GaussianParameters

FRAMES = 16  # poses in which visible weight is counted
CHUNK = 4  # frames drawn at once
NECK_GATE = 0.3  # what sound may do to the throat under the jaw, against the face
LEAD = 0.5  # how far one call moves the head weight towards what was counted
ENOUGH = 0.5  # pixels a Gaussian must cover in all frames together to be judged


def update_part_labels(
    parameters: GaussianParameters, footage: Footage, settings: RenderSettings, face_region: FaceRegion
) -> None:
    """Lead head weights and audio gates of all judged Gaussians towards the masks; the others stay as they are."""
    train = footage.train
    chosen = [train[i] for i in np.linspace(0, len(train) - 1, min(FRAMES, len(train))).round().astype(int)]
    mass = visible_mass(parameters.gaussians(), footage, settings, chosen)
    with torch.no_grad():
        on_face = face_region(parameters.values["xyz"])
        weight, gate = updated_labels(mass, on_face, parameters.values["head_weight"].detach(), parameters.audio_gate)
        parameters.values["head_weight"].lerp_(weight, LEAD)
        parameters.audio_gate = gate


def updated_labels(mass: Tensor, on_face: Tensor, head_weight: Tensor, audio_gate: Tensor) -> tuple[Tensor, Tensor]:
    """Head weights and gates (N,) that visible weight (N, 3) on head, neck and torso asks for.

    On the head the gate is `on_face` (N,), 1 within the face region and 0 outside. On the neck a Gaussian keeps its own
    weight, which blends by height; its gate there is NECK_GATE times it, so the throat under the jaw moves a little and
    the collar does not.
    """
    total = mass.sum(1)
    share = mass / total.clamp(min=1e-6)[:, None]
    on_head, on_neck, _ = share.unbind(1)
    weight = on_head + on_neck * head_weight
    gate = on_head * on_face + on_neck * NECK_GATE * head_weight
    judged = total > ENOUGH
    return torch.where(judged, weight, head_weight), torch.where(judged, gate, audio_gate)


def visible_mass(gaussians: Gaussians, footage: Footage, settings: RenderSettings, frames: Sequence[int]) -> Tensor:
    """Pixels' worth of picture (N, 3) that each Gaussian shows on head, neck and torso in the frames together.

    The derivative of a drawn pixel by a Gaussian's colour is that Gaussian's weight in it; so one backward pass through
    a picture whose three channels are masked by the three parts counts all of them, hidden Gaussians as nothing.
    """
    with torch.no_grad():
        at_rest = Gaussians(**{name: value.detach() for name, value in gaussians.tensors().items()})
    mass = torch.zeros(gaussians.count, 3, device=gaussians.xyz.device)
    for start in range(0, len(frames), CHUNK):
        chunk = list(frames[start : start + CHUNK])
        batch = footage.batch(chunk)
        with torch.no_grad():
            splats = assemble(at_rest, None, batch.head_pose, batch.torso_pose)
        colours = torch.ones_like(splats.colors, requires_grad=True)
        white = Splats(splats.means, splats.quats, splats.scales, splats.opacities, colours, splats.offsets)
        height, width = settings.background.shape[:2]
        view = torch.eye(3, 4, device=mass.device).expand(len(chunk), 3, 4)
        cameras = Cameras(view, settings.intrinsics.expand(len(chunk), 4), width, height)
        rgb = rasterize(white, cameras, backend=settings.backend).rgb
        parts = torch.stack([batch.labels == label for label in (HEAD, NECK, TORSO)], -1)
        (counted,) = torch.autograd.grad((rgb * parts).sum(), colours)
        mass += counted.reshape(len(chunk), -1, 3).sum(0)
    return mass
