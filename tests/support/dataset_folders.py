"""A small talking-portrait folder to read, and to break."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from being.dataset import DatasetWriter
from being.dataset.parsing import HEAD, NECK, TORSO
from being.dataset.pose import pose_of_tracking

FRAMES, WIDTH, HEIGHT = 12, 40, 32


def pose_curve(frames: int) -> np.ndarray:
    t = np.linspace(0, 1, frames)
    return pose_of_tracking(np.stack([0.1 * t, 0.2 * t, 0 * t], 1), np.stack([0.1 * t, 0 * t, -8 - 0 * t], 1))


def write_person(root: Path) -> Path:
    """The folder of FRAMES frames, whole."""
    rng = np.random.default_rng(0)
    writer = DatasetWriter(root, WIDTH, HEIGHT, focal=60.0).prepare()
    for i in range(FRAMES):
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        labels[4:16, 10:30], labels[16:20, 14:26], labels[20:, 4:36] = HEAD, NECK, TORSO
        writer.frame(i, np.full((HEIGHT, WIDTH, 3), 10 * i, np.uint8), labels, rng.uniform(0, 30, (68, 2)))
    writer.finish(
        audio=0.5 * np.sin(np.arange(FRAMES * 640) * 0.1),
        background=np.full((HEIGHT, WIDTH, 3), 200, np.uint8),
        head_poses=pose_curve(FRAMES),
        torso_poses=pose_curve(FRAMES)[::-1],
        eyes=np.linspace(0, 1, FRAMES),
        vertices=rng.normal(size=(9, 3)),
        action_units={"AU06_r": np.linspace(0, 4, FRAMES), "AU01_r": np.zeros(FRAMES), "AU02_r": np.zeros(FRAMES)},
    )
    return root


def unit_rows(folder: Path, kept: Iterable[int]) -> None:
    header, *rows = (folder / "au.csv").read_text().splitlines()
    (folder / "au.csv").write_text("\n".join([header, *(rows[i] for i in kept)]))
