"""A batch of frames drawn by the model as it is now: offsets, poses, splats, picture over a background."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from being.model import Conditions, DeformationNetwork, Gaussians, Offsets, assemble, camera_code
from being.raster import Cameras, rasterize
from being.training.data.footage import Batch
from being.training.model.corrections import FrameCorrections


@dataclass(frozen=True)
class RenderSettings:
    """What stays the same for all frames: plate (H, W, 3) in [0, 1], intrinsics (4,), rasterizer and arithmetic."""

    background: Tensor
    intrinsics: Tensor
    backend: str
    precision: str  # float32, tf32 or bf16

    def arithmetic(self) -> AbstractContextManager[object]:
        """The context in which the network runs."""
        if self.precision == "bf16":
            return torch.autocast(self.background.device.type, dtype=torch.bfloat16)
        return nullcontext()


@dataclass(frozen=True)
class Picture:
    """B drawn frames: rgb (B, H, W, 3) over the batch's backgrounds, alpha (B, H, W), depth (B, H, W) in decimetres
    weighed by it, radii (B N,), offsets or None (static)."""

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    radii: Tensor
    offsets: Offsets | None


def emotion_of(network: DeformationNetwork, expression: Tensor) -> Tensor | None:
    """What the network is told of the expressions (B, E) of frames: nothing if it knows none."""
    return expression if network.config.emotion_states else None


def predict_offsets(
    gaussians: Gaussians, network: DeformationNetwork, batch: Batch, settings: RenderSettings
) -> Offsets:
    """Offsets of N Gaussians for the B frames of the batch.

    Positions are detached: the place of a Gaussian is taught by the picture, not by what its triplane cell would
    prefer.
    """
    with settings.arithmetic():
        features = network.canonical_features(gaussians.xyz.detach())
        conditions = Conditions(batch.audio, batch.eye, batch.camera, emotion_of(network, batch.expression))
        return network.offsets(features, network.condition_tokens(conditions), gaussians.audio_gate)


def draw(
    gaussians: Gaussians,
    network: DeformationNetwork | None,
    batch: Batch,
    settings: RenderSettings,
    probe: Tensor | None = None,
    corrections: FrameCorrections | None = None,
) -> Picture:
    """Draw the frames of a batch; network None leaves the Gaussians at rest (static stage).

    `probe` (B N, 2) collects the screen-space gradient, see `being.raster.rasterize`. `corrections` belong to frames of
    the footage; without them frames are drawn as `footage` has them. The camera token is that of the pose drawn.
    """
    head, torso = batch.head_pose, batch.torso_pose
    if corrections is not None:
        head, torso = corrections.posed(batch.frames, head, torso)
        batch = replace(batch, camera=batch.camera + camera_code(head.detach()) - camera_code(batch.head_pose))
    offsets = None if network is None else predict_offsets(gaussians, network, batch, settings)
    splats = assemble(gaussians, offsets, head, torso)
    frames = batch.head_pose.shape[0]
    height, width = settings.background.shape[:2]
    view = torch.eye(3, 4, device=settings.background.device).expand(frames, 3, 4)
    cameras = Cameras(view, settings.intrinsics.expand(frames, 4), width, height)
    raster = rasterize(splats, cameras, probe=probe, backend=settings.backend)
    person = raster.rgb
    if corrections is not None:
        person = person * corrections.gains(batch.frames)[:, None, None]
    rgb = person + (1 - raster.alpha[..., None]) * batch.behind
    return Picture(rgb, raster.alpha, raster.depth, raster.radii, offsets)
