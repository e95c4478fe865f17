"""A batch of frames drawn by the model as it is now: offsets, poses, splats, picture over a background."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from being.model import Conditions, DeformationNetwork, Gaussians, Offsets, assemble, camera_code
from being.raster import Cameras, Splats, rasterize
from being.training.data.footage import Batch
from being.training.model.corrections import FrameCorrections


@dataclass(frozen=True)
class RenderSettings:
    """What stays the same for all frames: plate (H, W, 3) in [0, 1], intrinsics (4,), rasterizer and arithmetic;
    `absolute` screen gradients, see `being.raster.rasterize`."""

    background: Tensor
    intrinsics: Tensor
    backend: str
    precision: str  # float32, tf32 or bf16
    absolute: bool = False

    def arithmetic(self) -> AbstractContextManager[object]:
        """The context in which the network runs."""
        if self.precision == "bf16":
            return torch.autocast(self.background.device.type, dtype=torch.bfloat16)
        return nullcontext()


@dataclass(frozen=True)
class Picture:
    """B drawn frames: rgb (B, H, W, 3) over the batch's backgrounds, alpha (B, H, W), depth (B, H, W) in decimetres
    weighed by it, radii (B N,), the rest as `Posed`."""

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    radii: Tensor
    offsets: Offsets | None
    moved: Moved | None


@dataclass(frozen=True)
class Moved:
    """How the network moves points that were asked for, dm.

    frames : (B, P, 3) in the frames of the batch. swapped : (B, P, 3) in the same but for the eyes, which are those of
    the frame before in the batch, as lids shut whatever is said. rehearsed : (B, P, 3) in its rehearsed moments; None
    where nothing is rehearsed.
    """

    frames: Tensor
    swapped: Tensor
    rehearsed: Tensor | None


@dataclass(frozen=True)
class Posed:
    """Splats of B frames, and the network's part in them: offsets, and how it moves the points that were asked for;
    None in the static stage."""

    splats: Splats
    offsets: Offsets | None
    moved: Moved | None


def emotion_of(network: DeformationNetwork, expression: Tensor) -> Tensor | None:
    """What the network is told of the expressions (B, E) of frames: nothing if it knows none."""
    return expression if network.config.emotion_states else None


def predict_offsets(
    gaussians: Gaussians,
    network: DeformationNetwork,
    batch: Batch,
    settings: RenderSettings,
    points: Tensor | None = None,
) -> tuple[Offsets, Moved | None]:
    """Offsets of N Gaussians for the B frames of the batch, and how points (P, 3) of the face move.

    Positions are detached: the place of a Gaussian is taught by the picture, not by what its triplane cell would
    prefer.
    """
    with settings.arithmetic():
        places, gate = gaussians.xyz.detach(), gaussians.audio_gate
        if points is not None:
            places, gate = torch.cat([places, points]), torch.cat([gate, gate.new_ones(len(points))])
        features = network.canonical_features(places)
        if points is None or not batch.other_audio.numel():
            conditions = Conditions(batch.audio, batch.eye, batch.camera, emotion_of(network, batch.expression))
            tokens = network.condition_tokens(conditions)
        else:
            audio, told = torch.cat([batch.audio, batch.other_audio]), (batch.expression, batch.other_expression)
            eye, camera = (torch.cat([part, part]) for part in (batch.eye, batch.camera))
            tokens = network.condition_tokens(Conditions(audio, eye, camera, emotion_of(network, torch.cat(told))))
        offsets = network.offsets(features, tokens[: batch.count], gate)
        if points is None:
            return offsets, None
        count = gaussians.count
        beside = torch.cat([with_other_eyes(network, tokens[: batch.count]), tokens[batch.count :]])
        others = network.offsets(features[count:], beside).xyz
    rehearsed = others[batch.count :] if len(others) > batch.count else None
    moved = Moved(offsets.xyz[:, count:], others[: batch.count], rehearsed)
    return Offsets(*(value[:, :count] for value in vars(offsets).values())), moved


def with_other_eyes(network: DeformationNetwork, tokens: Tensor) -> Tensor:
    """Tokens (B, T, width), the eye's those of the frame before in the batch."""
    names = network.config.tokens
    if "eye" not in names:
        return tokens
    place = names.index("eye")
    return torch.cat([tokens[:, :place], tokens[:, place : place + 1].roll(1, 0), tokens[:, place + 1 :]], 1)


def draw(
    gaussians: Gaussians,
    network: DeformationNetwork | None,
    batch: Batch,
    settings: RenderSettings,
    probe: Tensor | None = None,
    corrections: FrameCorrections | None = None,
    points: Tensor | None = None,
) -> Picture:
    """Draw the frames of a batch; network None leaves the Gaussians at rest (static stage).

    `probe` (B N, 2) collects the screen-space gradient, see `being.raster.rasterize`. `corrections` belong to frames of
    the footage; without them frames are drawn as `footage` has them. The camera token is that of the pose drawn.
    `points` (P, 3): see `Moved`.
    """
    posed = splats_of(gaussians, network, batch, settings, corrections, points)
    cameras = cameras_of(settings, batch.count)
    raster = rasterize(posed.splats, cameras, probe=probe, backend=settings.backend, absolute=settings.absolute)
    rgb = before_background(raster.rgb, raster.alpha, batch, corrections)
    return Picture(rgb, raster.alpha, raster.depth, raster.radii, posed.offsets, posed.moved)


def splats_of(
    gaussians: Gaussians,
    network: DeformationNetwork | None,
    batch: Batch,
    settings: RenderSettings,
    corrections: FrameCorrections | None,
    points: Tensor | None = None,
) -> Posed:
    """What is drawn of the frames of a batch, in camera space; arguments as `draw`."""
    head, torso = batch.head_pose, batch.torso_pose
    if corrections is not None:
        head, torso = corrections.posed(batch.frames, head, torso)
        batch = replace(batch, camera=batch.camera + camera_code(head.detach()) - camera_code(batch.head_pose))
    if network is None:
        return Posed(assemble(gaussians, None, head, torso), None, None)
    offsets, moved = predict_offsets(gaussians, network, batch, settings, points)
    return Posed(assemble(gaussians, offsets, head, torso), offsets, moved)


def cameras_of(settings: RenderSettings, frames: int) -> Cameras:
    """The camera, once for each of the frames: splats are in its space already."""
    height, width = settings.background.shape[:2]
    view = torch.eye(3, 4, device=settings.background.device).expand(frames, 3, 4)
    return Cameras(view, settings.intrinsics.expand(frames, 4), width, height)


def before_background(rgb: Tensor, alpha: Tensor, batch: Batch, corrections: FrameCorrections | None) -> Tensor:
    """Drawn people, rgb (B, H, W, 3) premultiplied by alpha (B, H, W), exposed as their frames and over backgrounds."""
    if corrections is not None:
        rgb = rgb * corrections.gains(batch.frames)[:, None, None]
    return rgb + (1 - alpha[..., None]) * batch.behind
