"""Footage with mattes trains before backgrounds drawn by lot, film and drawn person before the same one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from being.dataset import Dataset
from being.model import DeformationNetwork
from being.synthetic import generate, listen
from being.training.config import FitConfig
from being.training.data.backgrounds import grown, random_patches
from being.training.data.footage import Footage
from being.training.loss.losses import picture_loss
from being.training.model.drawing import RenderSettings, draw
from being.training.model.init import seed_gaussians

SIZE = 64
CONFIG = FitConfig(initial_gaussians=400, gaussians=400, features="logmel", prior="none")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    clip = listen(0.6, seed=2)
    folder = generate(
        tmp_path_factory.mktemp("moving") / "person", performance=clip, size=(SIZE, SIZE), camera="hand", workers=2
    )
    return Footage(Dataset(folder), np.zeros((clip.frames, 8, 16, 32), np.float32), CONFIG, torch.device("cpu"))


def test_backgrounds_differ_and_shares_of_a_batch_get_their_own() -> None:
    whole = grown(random_patches(6, torch.Generator().manual_seed(1)), 24, 32)
    part = grown(random_patches(6, torch.Generator().manual_seed(1), slice(2, 4)), 24, 32)
    torch.testing.assert_close(whole[2:4], part)
    assert whole.shape == (6, 24, 32, 3) and whole.min() >= 0 and whole.max() <= 1
    many = grown(random_patches(200, torch.Generator().manual_seed(2)), 8, 8).mean((1, 2))
    assert many.std(0).min() > 0.2 and many.amin() < 0.1 and many.amax() > 0.9


def test_the_film_stands_before_the_background_drawn_by_lot(footage: Footage) -> None:
    assert footage.has_mattes
    batch = footage.draw(5, torch.Generator().manual_seed(3))
    as_it_is = footage.batch(batch.frames.tolist())
    assert (batch.behind - as_it_is.behind).abs().mean() > 0.1
    outside, inside = batch.alpha == 0, batch.alpha == 1
    # JPEG leaves a few grey levels beside the rim
    assert (batch.truth - batch.behind)[outside].abs().mean() < 0.01
    torch.testing.assert_close(batch.truth[inside], as_it_is.truth[inside])
    soft = ~(outside | inside)
    expected = as_it_is.truth - (1 - batch.alpha[..., None]) * (as_it_is.behind - batch.behind)
    torch.testing.assert_close(batch.truth[soft], expected[soft].clamp(0, 1))
    assert 0.005 < soft.float().mean() < 0.2


def test_the_drawn_person_stands_before_the_same_background(footage: Footage) -> None:
    craft = RenderSettings(footage.background, footage.intrinsics, "reference", "float32")
    gaussians = seed_gaussians(footage, 400, np.random.default_rng(0))
    batch = footage.draw(2, torch.Generator().manual_seed(4))
    no_network: DeformationNetwork | None = None
    with torch.no_grad():
        picture = draw(gaussians, no_network, batch, craft)
    nobody = picture.alpha == 0
    assert nobody.any()
    torch.testing.assert_close(picture.rgb[nobody], batch.behind[nobody])
    # coverage is led to the matte, not to the mask: the matte itself costs nothing
    boxes = (batch.lips, batch.eyes, CONFIG.loss)
    right = picture_loss(batch.truth, batch.alpha, batch.truth, batch.mask, *boxes, matte=batch.alpha)
    assert float(right.parts["alpha"]) == 0
    hard = picture_loss(batch.truth, batch.mask, batch.truth, batch.mask, *boxes, matte=batch.alpha)
    assert float(hard.parts["alpha"]) > 0
