"""Measures on pictures whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from being.training.refiner.measures import flicker, gradient_deviation, nearness, shifts, spectrum_distance

SIDE = 64
BOX = torch.tensor([[8.0, 8.0, 56.0, 56.0]])


def textured(seed: int = 0, shift: float = 0.0, detail: float = 1.0) -> Tensor:
    """(1, SIDE, SIDE, 3) uint8: waves of several lengths, moved to the right by `shift` pixels."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(float)
    picture = np.full((SIDE, SIDE), 0.5)
    for length in (40, 25, 16, 12):
        angle, phase = random.uniform(0, np.pi), random.uniform(0, 6)
        picture += 0.08 * np.sin(2 * np.pi * ((x - shift) * np.cos(angle) + y * np.sin(angle)) / length + phase)
    picture += detail * 0.02 * random.standard_normal((SIDE, SIDE))
    return torch.from_numpy((255 * picture.clip(0, 1)).round().astype(np.uint8))[None, :, :, None].repeat(1, 1, 1, 3)


def test_a_picture_is_nearest_to_itself() -> None:
    same = nearness(textured(), textured(), BOX)
    other = nearness(textured(), textured(1), BOX)
    assert same["psnr"] > 90 and same["ssim"] > 0.999
    assert other["psnr"] < 25 and other["ssim"] < 0.8


def test_gradients_tell_lost_and_wrong_detail() -> None:
    sharp, soft = textured(), textured(detail=0)
    assert float(gradient_deviation(sharp, sharp, BOX)) == 0
    lost, wrong = (float(gradient_deviation(made, sharp, BOX)) for made in (soft, textured(1)))
    assert 0.005 < lost < wrong


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.0])
def test_a_shift_is_found_below_a_pixel(shift: float) -> None:
    found = shifts(textured(detail=0), textured(shift=shift, detail=0), BOX)
    assert float(found) == pytest.approx(shift, abs=0.06)


def test_detail_alone_is_no_shift_but_a_nearer_spectrum() -> None:
    soft, film, refined = textured(detail=0), textured(detail=1), textured(detail=1).roll(3, 1)
    assert float(shifts(soft, film, BOX)) < 0.15
    assert float(spectrum_distance(refined, film, BOX)) < 0.5 * float(spectrum_distance(soft, film, BOX))


def test_flicker_is_what_is_left_when_the_heads_motion_is_undone() -> None:
    """A textured plane seen by a turning and moving head pose does not flicker; new noise in each frame does."""
    camera, depth = (100.0, 100.0, 32.0, 32.0), 0.5
    still = np.hstack([np.diag([1.0, -1.0, -1.0]), [[0.0], [0.0], [8.0]]])
    turned = np.hstack(
        [still[:, :3] @ Rotation.from_euler("xyz", [0.02, 0.03, 0.05]).as_matrix(), [[0.1], [0.0], [8.1]]]
    )
    poses = torch.from_numpy(np.stack([still, turned]).astype(np.float32))
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5

    def seen(pose: np.ndarray) -> Tensor:
        rays = np.stack([(x - 32) / 100, (y - 32) / 100, np.ones_like(x)], -1)
        origin, along = -pose[:, :3].T @ pose[:, 3], rays @ pose[:, :3]
        at = origin + ((depth - origin[2]) / along[..., 2])[..., None] * along
        grey = 0.5 + 0.2 * np.sin(4 * at[..., 0]) * np.cos(3 * at[..., 1])
        return torch.from_numpy((255 * grey).round().astype(np.uint8))[:, :, None].repeat(1, 1, 3)

    frames, nowhere = torch.tensor([4, 5]), torch.zeros(2, 4)
    boxes = BOX.repeat(2, 1)
    steady = torch.stack([seen(still), seen(turned)])
    noise = torch.randint(-6, 7, steady.shape, generator=torch.Generator().manual_seed(0))
    noisy = (steady.int() + noise).clamp(0, 255).to(torch.uint8)
    looked = [flicker(part, frames, poses, camera, depth, boxes, nowhere) for part in (steady, noisy)]
    unmoved = flicker(steady, frames, poses[:1].repeat(2, 1, 1), camera, depth, boxes, nowhere)
    assert looked[0] < 0.6 < unmoved and looked[1] > 1.5
    assert np.isnan(flicker(steady, torch.tensor([4, 6]), poses, camera, depth, boxes, nowhere))
