"""Scores of drawn frames by region: the person, the face inside its landmarks' hull, mouth and eyes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull
from torch import Tensor

from being.model import DeformationNetwork, Gaussians
from being.training.data.footage import Batch, Footage
from being.training.loss.losses import box_mask, masked_mean, psnr, ssim_map
from being.training.loss.perceptual import Perceptual
from being.training.model.drawing import RenderSettings, draw
from being.training.quality.spectrum import band_levels, box_around

REGIONS = ("person", "face", "mouth", "eyes")
CHUNK = 4  # frames drawn at once


def face_hull(landmarks: NDArray[np.float32], height: int, width: int) -> NDArray[np.bool_]:
    """(H, W): inside the convex hull of landmarks (68, 2) in pixels."""
    outline = landmarks[ConvexHull(landmarks).vertices]
    canvas = Image.new("1", (width, height))
    ImageDraw.Draw(canvas).polygon([(float(x - 0.5), float(y - 0.5)) for x, y in outline], fill=1)
    return np.asarray(canvas, bool)


def region_masks(footage: Footage, batch: Batch) -> dict[str, Tensor]:
    """Masks (B, H, W) of a batch's frames by `REGIONS`."""
    height, width = batch.mask.shape[1:]
    hulls = [face_hull(footage.landmarks[frame], height, width) for frame in batch.frames.tolist()]
    return {
        "person": batch.mask,
        "face": torch.from_numpy(np.stack(hulls)).to(batch.mask),
        "mouth": box_mask(batch.lips[:, None], height, width),
        "eyes": box_mask(batch.eyes, height, width),
    }


@torch.no_grad()
def region_scores(
    gaussians: Gaussians,
    network: DeformationNetwork | None,
    footage: Footage,
    settings: RenderSettings,
    frames: Sequence[int],
    perceptual: Perceptual | None = None,
) -> tuple[dict[str, float], list[NDArray[np.uint8]]]:
    """Means over frames, and the frames as drawn, RGB (H, W, 3).

    psnr_REGION and ssim_REGION over `REGIONS`; band_BAND of the face, dB against the film, over
    `being.training.quality.spectrum.BANDS`; vgg: distance of VGG-16 features inside the face's box, where `perceptual`
    is given.
    """
    found: dict[str, list[float]] = {}
    drawn: list[NDArray[np.uint8]] = []
    for place in range(0, len(frames), CHUNK):
        batch = footage.batch(frames[place : place + CHUNK])
        rgb = draw(gaussians, network, batch, settings).rgb.clamp(0, 1)
        similar = ssim_map(rgb, batch.truth)
        for name, mask in region_masks(footage, batch).items():
            found.setdefault(f"psnr_{name}", []).extend(psnr(rgb, batch.truth, mask).tolist())
            over = [float(masked_mean(similar[i], mask[i])) for i in range(batch.count)]
            found.setdefault(f"ssim_{name}", []).extend(over)
        if perceptual is not None:
            for index, frame in enumerate(batch.frames.tolist()):
                x0, y0, x1, y1 = box_around(footage.landmarks[frame], footage.height, footage.width)
                crops = (picture[index : index + 1, y0:y1, x0:x1] for picture in (rgb, batch.truth))
                found.setdefault("vgg", []).append(float(perceptual(*crops)))
        drawn += list((rgb * 255).round().byte().cpu().numpy())
    scores = {name: float(np.nanmean(values)) for name, values in found.items()}
    boxes = [box_around(footage.landmarks[frame], footage.height, footage.width) for frame in frames]
    levels = band_levels(drawn, [footage.picture(frame) for frame in frames], boxes)
    return scores | {f"band_{name}": level for name, level in levels.items()}, drawn
