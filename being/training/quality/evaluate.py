"""How good the avatar is on frames it never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from being.model import DeformationNetwork, Gaussians
from being.training.data.footage import Batch, Footage
from being.training.loss.losses import box_mask, masked_mean, psnr, ssim_map
from being.training.model.corrections import FrameCorrections
from being.training.model.drawing import RenderSettings, draw

CHUNK = 4  # frames drawn at once
CURVE_FRAMES = 8  # held-out frames behind each point of the curve


@dataclass(frozen=True)
class FrameScore:
    """One held-out frame: dB over the person and over the mouth box, SSIM over the person.

    fitted_psnr: dB over the person after the one gain for each colour channel that fits best, which takes out a change
    of the camera's exposure; told beside `psnr`, never in its place.
    """

    frame: int
    psnr: float
    ssim: float
    mouth_psnr: float
    fitted_psnr: float = float("nan")


@dataclass(frozen=True)
class Evaluation:
    """Scores by block ("inner", "end"), every frame of a block or evenly spaced ones."""

    blocks: dict[str, list[FrameScore]]

    @property
    def all(self) -> list[FrameScore]:
        """Every scored frame."""
        return [score for scores in self.blocks.values() for score in scores]

    def mean(self, field: str, block: str | None = None) -> float:
        """Mean of a field over a block or over all frames; NaN where there are none."""
        scores = self.all if block is None else self.blocks.get(block, [])
        values = [getattr(score, field) for score in scores]
        return float(np.nanmean(values)) if values else float("nan")

    def metrics(self) -> dict[str, float]:
        """Flat finite numbers for avatar.json."""
        out = {}
        for field in ("psnr", "ssim", "mouth_psnr", "fitted_psnr"):
            for block in (None, *self.blocks):
                name = f"held_out_{field}" if block is None else f"{block}_{field}"
                out[name] = self.mean(field, block)
        return {name: round(value, 4) for name, value in out.items() if np.isfinite(value)}

    def as_json(self) -> dict[str, Any]:
        """Means and every frame."""
        return {
            "means": self.metrics(),
            "frames": {name: [vars(score) for score in scores] for name, scores in self.blocks.items()},
        }


@torch.no_grad()
def evaluate(
    gaussians: Gaussians,
    network: DeformationNetwork | None,
    footage: Footage,
    settings: RenderSettings,
    most: int,
    progress: Callable[[float], None] | None = None,
) -> Evaluation:
    """Score at most `most` held-out frames, evenly spaced over both blocks."""
    blocks = {"inner": footage.held_out.inner, "end": footage.held_out.end}
    total = sum(map(len, blocks.values()))
    scores: dict[str, list[FrameScore]] = {}
    done = 0
    for name, frames in blocks.items():
        chosen = spaced(frames, max(1, round(most * len(frames) / max(total, 1))))
        scores[name] = []
        for start in range(0, len(chosen), CHUNK):
            indices = chosen[start : start + CHUNK]
            batch = footage.batch(indices)
            rgb = draw(gaussians, network, batch, settings).rgb.clamp(0, 1)
            scores[name] += score_frames(indices, rgb, batch)
            done += len(indices)
            if progress is not None:
                progress(done / min(total, most + 1))
    return Evaluation({name: found for name, found in scores.items() if found})


def score_frames(indices: Sequence[int], rgb: Tensor, batch: Batch) -> list[FrameScore]:
    """Scores of drawn frames (B, H, W, 3)."""
    height, width = batch.mask.shape[1:]
    over_person = psnr(rgb, batch.truth, batch.mask).tolist()
    mouth = psnr(rgb, batch.truth, box_mask(batch.lips[:, None], height, width)).tolist()
    similar = ssim_map(rgb, batch.truth)
    over = [float(masked_mean(similar[i], batch.mask[i])) for i in range(len(indices))]
    fitted = psnr(exposed(rgb, batch.truth, batch.mask), batch.truth, batch.mask).tolist()
    return [FrameScore(*values) for values in zip(indices, over_person, over, mouth, fitted, strict=True)]


def exposed(rgb: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Pictures (B, H, W, 3) times the gain (B, 3) that brings them nearest to the truth inside the mask (B, H, W).

    Least squares of g p - t: g = sum(p t) / sum(p p).
    """
    inside = mask[..., None]
    gain = (rgb * truth * inside).sum((1, 2)) / (rgb * rgb * inside).sum((1, 2)).clamp(min=1e-6)
    return (rgb * gain[:, None, None]).clamp(0, 1)


@torch.no_grad()
def held_out_psnr(
    gaussians: Gaussians,
    network: DeformationNetwork | None,
    footage: Footage,
    settings: RenderSettings,
    corrections: FrameCorrections | None = None,
) -> float | None:
    """Mean PSNR over the person of a few held-out frames, for the curve; None where nothing is held out."""
    return mean_psnr(footage.held_out.all, gaussians, network, footage, settings, corrections)


@torch.no_grad()
def mean_psnr(
    frames: Sequence[int],
    gaussians: Gaussians,
    network: DeformationNetwork | None,
    footage: Footage,
    settings: RenderSettings,
    corrections: FrameCorrections | None = None,
    *,
    most: int = CURVE_FRAMES,
    lips: bool = True,
) -> float | None:
    """Mean PSNR over the person, with the box around the lips or without, of at most so many of the frames; None where
    there are none."""
    chosen = spaced(frames, most)
    values: list[float] = []
    for start in range(0, len(chosen), CHUNK):
        batch = footage.batch(chosen[start : start + CHUNK])
        rgb = draw(gaussians, network, batch, settings, None, corrections).rgb.clamp(0, 1)
        mask = batch.mask if lips else batch.mask * (1 - box_mask(batch.lips[:, None], *batch.mask.shape[1:]))
        values += psnr(rgb, batch.truth, mask).tolist()
    return float(np.nanmean(values)) if values else None


@torch.no_grad()
def draw_frame(
    gaussians: Gaussians, network: DeformationNetwork | None, footage: Footage, settings: RenderSettings, frame: int
) -> NDArray[np.uint8]:
    """Frame `frame` as the avatar shows it, RGB (H, W, 3)."""
    rgb = draw(gaussians, network, footage.batch([frame]), settings).rgb[0]
    return (rgb.clamp(0, 1) * 255).round().byte().cpu().numpy()


def spaced(frames: Sequence[int], count: int) -> list[int]:
    """At most `count` of the frames, evenly spaced."""
    if len(frames) <= count:
        return list(frames)
    return [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]
