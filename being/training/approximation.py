"""The CPU approximation that a finished avatar names: the fastest that loses little on held-out frames.

A new face is then live on a CPU at once, where the full network costs several times as much. What is fitted on the way
lies in the cache of this machine, so that a server here plays the avatar without fitting it again.
`benchmarks/approximations.py` compares all forms with times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from being.avatar.folder import Avatar
from being.avatar.schema import Approximation
from being.dataset.parsing import BACKGROUND
from being.training.data.footage import Footage
from being.training.quality.evaluate import spaced

if TYPE_CHECKING:  # what draws on a CPU needs numba, which need not be where a GPU trains
    from being.inference.frames import Drive
    from being.inference.renderable import RenderableAvatar

TOLERANCE = 0.3  # dB over the person that a form may lose against the full network
FRAMES = 24  # held-out frames looked at
FASTEST_FIRST: tuple[Approximation, ...] = (
    "pca",
    "pruned",
)  # `distilled`, between them, fits in 30 s

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """A form, and what it loses, dB over the person."""

    form: Approximation
    lost: float


def fastest_form(avatar: Avatar, footage: Footage, tolerance: float = TOLERANCE) -> Choice:
    """The first of the approximations that loses at most `tolerance` on held-out frames (on trained ones if none are).

    avatar : on the CPU, its network with recorded tokens. footage : with the poses that the avatar was trained to.

    Raises ImportError where numba is missing.
    """
    from being.inference.renderable import RenderableAvatar

    frames = spaced(footage.held_out.all or footage.train, FRAMES)
    avatar_on_cpu = RenderableAvatar(avatar, torch.device("cpu"))
    drives = [_drive(avatar, footage, frame) for frame in frames]
    exact = _decibels("full", avatar_on_cpu, drives, footage)
    for form in FASTEST_FIRST:
        lost = float((exact - _decibels(form, avatar_on_cpu, drives, footage)).mean())
        if lost <= tolerance:
            return Choice(form, lost)
    return Choice("full", 0.0)


def with_fastest_form(avatar: Avatar, footage: Footage) -> tuple[Avatar, str]:
    """The avatar naming its fastest good form, and a line about it; as it is where nothing can be tried here."""
    try:
        choice = fastest_form(avatar, footage)
    except ImportError as error:
        return avatar, f"full; no faster form was tried ({error}): see benchmarks/approximations.py"
    manifest = avatar.manifest.model_copy(update={"approximation": choice.form})
    return replace(avatar, manifest=manifest), f"{choice.form}, {choice.lost:.2f} dB lost against the full one"


def _drive(avatar: Avatar, footage: Footage, frame: int) -> Drive:
    from being.inference.frames import Drive

    return Drive(
        avatar.id,
        footage.contexts[frame].cpu().numpy(),
        float(footage.closure[frame]),
        footage.head_poses[frame].cpu().numpy(),
        footage.torso_poses[frame].cpu().numpy(),
        emotion=footage.expressions[frame].cpu().numpy() if avatar.manifest.network.emotion_states else None,
        index=frame,
    )


def _decibels(form: Approximation, avatar_on_cpu: RenderableAvatar, drives: list[Drive], footage: Footage) -> Array:
    """PSNR of each drive's picture over the person of its frame."""
    from being.inference.backends.cpu import CpuBackend
    from being.inference.frames import PixelFormat

    batch = CpuBackend(form).render([(avatar_on_cpu, drive) for drive in drives], PixelFormat.RGB)
    pictures = batch.pixels.numpy()
    frames = [drive.index for drive in drives]
    return np.array(
        [
            psnr(picture, footage.picture(frame), footage.labels(frame) != BACKGROUND)
            for picture, frame in zip(pictures, frames, strict=True)
        ]
    )


def psnr(picture: NDArray[np.uint8], truth: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    """dB over the masked pixels, at most 100; 0 where there are none."""
    error = (picture[mask].astype(np.float64) - truth[mask]) / 255
    return float(-10 * np.log10(max((error**2).mean(), 1e-10))) if error.size else 0.0
