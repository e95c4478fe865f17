"""Noise is normal in every latent, and moves with the face."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from being.refine.streamdiffusion.noise import FacePlane, NoiseTextures, anchored_noise, deviations, texels_of_crops

CPU = torch.device("cpu")
SIZE = 256
FOCAL = 987.3
Z = 8.03  # of the face; pixels and texels are in no simple proportion
PLANE = FacePlane(z=0.6, distance=8.0, intrinsics=(FOCAL, FOCAL, 256.0, 256.0), recorded=(512, 512))
WINDOW = np.array([128, 128, 384, 384], np.float32)


def pose(x: float = 0.0, y: float = 0.0, z: float = Z, turn: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Looking at the camera: OpenCV axes, y down."""
    c, s, cr, sr = np.cos(turn), np.sin(turn), np.cos(roll), np.sin(roll)
    facing = np.diag([1.0, -1.0, -1.0])
    about = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.concatenate([about @ facing, [[x], [y], [z + 0.6]]], axis=1).astype(np.float32)


def noise_of(poses: list[np.ndarray], seeds: list[int], window: np.ndarray = WINDOW, size: int = SIZE) -> torch.Tensor:
    textures = NoiseTextures(CPU, 4)
    count = len(poses)
    texels = texels_of_crops([PLANE] * count, np.array(poses), np.tile(window, (count, 1)), (512, 512), size)
    maps = np.concatenate([texels.reshape(count, 9), deviations(texels, size)[:, None]], axis=1)
    slots = torch.tensor(textures.slots(seeds))
    return anchored_noise(textures.bank, slots, torch.tensor(maps, dtype=torch.float32), size)


@pytest.mark.parametrize(
    "at", [pose(), pose(z=6.0), pose(z=13.0), pose(roll=0.6), pose(turn=0.7)], ids=["as", "near", "far", "roll", "turn"]
)
def test_every_latent_is_a_standard_normal_number(at: np.ndarray) -> None:
    noise = noise_of([at], [5])[0]
    assert noise.shape == (32, 32, 4)
    middle = noise[8:24, 8:24].flatten()  # where the deviation is worked out
    assert abs(float(middle.mean())) < 0.12
    assert 0.85 < float(middle.std()) < 1.15
    kurtosis = float(((noise - noise.mean()) / noise.std()).pow(4).mean())
    assert 2.5 < kurtosis < 3.6


def test_neighbours_know_little_of_each_other() -> None:
    noise = noise_of([pose()], [5])[0]
    neighbours = torch.corrcoef(torch.stack([noise[:, :-1].flatten(), noise[:, 1:].flatten()]))[0, 1]
    assert abs(float(neighbours)) < 0.25


def test_a_face_that_moves_by_a_latent_takes_its_noise_along() -> None:
    step = 8 * Z / FOCAL  # decimetres that 8 pixels are at the face's distance
    still, moved = noise_of([pose(), pose(x=step)], [5, 5])
    together = torch.corrcoef(torch.stack([still[:, :-1].flatten(), moved[:, 1:].flatten()]))[0, 1]
    apart = torch.corrcoef(torch.stack([still.flatten(), moved.flatten()]))[0, 1]
    assert float(together) > 0.99 and float(apart) < 0.3


def test_a_face_that_hardly_moves_hardly_changes_its_noise() -> None:
    still, moved = noise_of([pose(), pose(x=0.1 * Z / FOCAL)], [5, 5])  # a tenth of a pixel
    assert float(torch.corrcoef(torch.stack([still.flatten(), moved.flatten()]))[0, 1]) > 0.85


def test_a_window_that_moves_over_a_still_face_does_not_move_its_noise() -> None:
    still = noise_of([pose()], [5])[0]
    moved = noise_of([pose()], [5], WINDOW + 16)[0]
    torch.testing.assert_close(still[2:, 2:], moved[:-2, :-2], atol=2e-3, rtol=0)


def test_a_resampled_crop_has_normal_noise_too() -> None:
    noise = noise_of([pose()], [5], np.array([0, 0, 512, 512], np.float32))[0]
    assert 0.85 < float(noise.std()) < 1.15


def test_people_have_noise_of_their_own_and_keep_it() -> None:
    one, two, again = noise_of([pose()] * 3, [5, 6, 5])
    assert torch.equal(one, again)
    assert abs(float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])) < 0.1


def test_textures_that_left_come_back_the_same() -> None:
    textures = NoiseTextures(CPU, 2)
    (slot,) = textures.slots([7])
    first = textures.bank[slot].clone()
    textures.slots([8, 9])
    (slot,) = textures.slots([7])
    assert torch.equal(textures.bank[slot], first)
    with pytest.raises(ValueError, match="3 seeds in one batch, at most 2"):
        textures.slots([1, 2, 3])


def test_a_batch_never_loses_a_texture_it_uses() -> None:
    textures = NoiseTextures(CPU, 2)
    textures.slots([1, 2])
    one, three = textures.slots([1, 3])
    assert one != three
    assert textures.slots([1]) == [one]


def test_a_face_seen_from_its_edge_has_noise_all_the_same() -> None:
    edge = pose(x=0.0)
    edge[:, :3] = np.array([[0, 0, 1], [0, -1, 0], [1, 0, 0]])
    edge[:, 3] = [-0.6, 0, 8]  # the plane goes through the camera
    ahead = pose()
    for noise in noise_of([edge, pose(turn=1.5), pose(turn=2.5), ahead], [5] * 4):
        assert noise.isfinite().all() and float(noise.abs().max()) < 12
    assert torch.equal(noise_of([edge, ahead], [5, 5])[1], noise_of([ahead], [5])[0])
