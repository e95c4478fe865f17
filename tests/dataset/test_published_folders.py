"""Folders as the preparations of others leave them: read as far as they are whole, and told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.dataset_folders import FRAMES, HEIGHT, WIDTH, pose_curve, unit_rows, write_person

from being.dataset import validate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_person(tmp_path / "person")


def published(folder: Path) -> None:
    """JPEG pictures, no torso poses: what all of them have in common."""
    for path in [folder / "bc.png", *(folder / "ori_imgs").glob("*.png"), *(folder / "gt_imgs").glob("*.png")]:
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    (folder / "torso_params.npz").unlink()


def like_er_nerf(folder: Path) -> None:
    """OpenFace's own columns, among others, with spaces before their names; features beside the sound."""
    published(folder)
    header, *rows = (folder / "au.csv").read_text().splitlines()
    columns = ["frame", "confidence", *(name.strip() for name in header.split(","))]
    lines = [", ".join(columns), *(f"{i + 1}, 0.98, {row}" for i, row in enumerate(rows))]
    (folder / "au.csv").write_text("\n".join(lines) + "\n")
    np.save(folder / "aud_eo.npy", np.zeros((FRAMES, 16, 44), np.float32))
    (folder / "transforms_test.json").write_text((folder / "transforms_val.json").read_text())


def like_geneface(folder: Path) -> None:
    """Frames without a face have no landmarks; layers and lists under other names beside it."""
    published(folder)
    for name in ("head_imgs", "com_imgs", "inpaint_torso_imgs"):
        shutil.copytree(folder / "gt_imgs", folder / name)
    np.save(folder / "coeff_fit_mp.npy", np.zeros((FRAMES, 64)))
    np.save(folder / "aud_hu.npy", np.zeros((FRAMES * 2, 1024), np.float32))
    (folder / "ori_imgs/0.lms").unlink()


def like_synctalk(folder: Path) -> None:
    """Blendshapes, features of its own encoder, a row too few of the blinks; no pictures over the plate."""
    published(folder)
    shutil.rmtree(folder / "gt_imgs")
    np.save(folder / "bs.npy", np.zeros((FRAMES, 52)))
    np.save(folder / "aud_ave.npy", np.zeros((FRAMES, 512), np.float32))
    unit_rows(folder, range(FRAMES - 1))


def like_instag(folder: Path) -> None:
    """Masks of the teeth for every frame, features of three encoders."""
    published(folder)
    (folder / "teeth_mask").mkdir(exist_ok=True)
    for i in range(FRAMES):
        np.save(folder / "teeth_mask" / f"{i}.npy", np.zeros((HEIGHT, WIDTH), bool))
    for name in ("aud_ds.npy", "aud_ave.npy", "aud_hu.npy"):
        np.save(folder / name, np.zeros((FRAMES, 16, 29), np.float32))


@pytest.mark.parametrize(
    ("made", "frames", "told"),
    [
        (like_er_nerf, FRAMES, None),
        (like_geneface, FRAMES - 1, "1 without landmarks (0)"),
        (like_synctalk, FRAMES - 1, "1 without row in au.csv (11)"),
        (like_instag, FRAMES, None),
    ],
)
def test_folders_of_others_are_read_as_far_as_they_are_whole(
    folder: Path, made: Callable[[Path], None], frames: int, told: str | None
) -> None:
    made(folder)
    dataset = validate(folder)
    assert dataset.frames == frames
    left_out = [note for note in dataset.notes if "left out" in note]
    assert len(left_out) == (told is not None) and all(told is not None and told in note for note in left_out)
    np.testing.assert_allclose(dataset.head_poses, pose_curve(FRAMES)[dataset.numbers], atol=1e-5)
    np.testing.assert_allclose(dataset.eyes, np.linspace(0, 1, FRAMES)[dataset.numbers], atol=1e-3)
    last = int(dataset.numbers[-1])
    assert np.abs(dataset.composited(frames - 1).astype(int) - 10 * last).max() <= 3
