"""Region scores of a real (synthetic) clip drawn by seeded Gaussians."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from being.dataset import Dataset
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.loss.losses import psnr
from being.training.model.drawing import RenderSettings, draw
from being.training.model.init import seed_gaussians
from being.training.quality.regions import REGIONS, face_hull, region_masks, region_scores
from being.training.quality.spectrum import BANDS


def test_the_hull_holds_the_landmarks_and_no_more() -> None:
    square = np.array([[10, 10], [30, 10], [30, 40], [10, 40], [20, 20]], np.float32)
    inside = face_hull(square, 50, 60)
    assert inside[11:39, 11:29].all() and not inside[:9].any() and not inside[:, 32:].any() and not inside[42:].any()


def test_scores_are_those_of_the_pictures(clip: Path) -> None:
    data = Dataset(clip)
    footage = Footage(data, np.zeros((data.frames, 8, 16, 4), np.float32), FitConfig(), torch.device("cpu"))
    gaussians = seed_gaussians(footage, 800, np.random.default_rng(0), data.vertices)
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    frames = [0, 7, 3, 11, 20]
    scores, drawn = region_scores(gaussians, None, footage, settings, frames)
    assert set(scores) == {f"{kind}_{r}" for kind in ("psnr", "ssim") for r in REGIONS} | {f"band_{b}" for b in BANDS}
    batch = footage.batch(frames)
    rgb = draw(gaussians, None, batch, settings).rgb.detach().clamp(0, 1)
    masks = region_masks(footage, batch)
    assert bool((masks["face"] <= 1).all()) and float(masks["face"].sum()) < float(masks["person"].sum())
    for name in REGIONS:
        assert scores[f"psnr_{name}"] == pytest.approx(float(psnr(rgb, batch.truth, masks[name]).mean()), abs=1e-3)
    assert len(drawn) == 5 and np.abs(drawn[1] / 255 - rgb[1].numpy()).max() < 0.5 / 255 + 1e-5
    assert scores["band_high"] < 0  # 800 Gaussians hold no fine detail
