"""Scores on the way: they change nothing, stop what takes too long, and compare at equal steps."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from being.synthetic import generate
from being.training.config import FitConfig

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from moving_camera import cut_out
from scored_training import against, train_scored

CONFIG = FitConfig(
    static_steps=20,
    network_steps=40,
    gaussians=200,
    initial_gaussians=150,
    batch=1,
    features="logmel",
    pretrained="none",
    plane_resolutions=(8,),
    device="cpu",
)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small film and the true layers of two of its held-out frames."""
    from being.dataset import Dataset

    folder = tmp_path_factory.mktemp("filmed")
    generate(folder / "film", seconds=2.0, size=(64, 64), seed=5, camera="still")
    data = Dataset(folder / "film")
    frames = list(data.split.val[:2])
    layers = np.stack([cut_out(data, frame) for frame in frames])
    np.savez(folder / "truth.npz", frames=frames, layers=layers)
    return folder / "film", folder / "truth.npz"


@pytest.fixture(scope="module")
def scored(filmed: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("scored")
    return train_scored(*filmed, folder, CONFIG, every=20), folder


def test_scores_on_the_way_change_nothing(
    filmed: tuple[Path, Path], scored: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    row, folder = scored
    plain = train_scored(*filmed, tmp_path, CONFIG)
    assert row["steps"] == plain["steps"] == {"static": 20, "network": 40}
    assert list(row["scores"]) == [20, 40] and plain["scores"] == {}
    assert row["held_out_psnr"] == plain["held_out_psnr"] > row["scores"][20]["held_out_psnr"] > 5
    assert set(row["halo"]) == {"white", "black", "green"}
    assert [int(step) for step in json.loads((folder / "scores.json").read_text())] == [20, 40]
    with np.load(folder / "drawn.npz") as ours, np.load(tmp_path / "drawn.npz") as theirs:
        assert np.array_equal(ours["drawn"], theirs["drawn"]) and ours["drawn"].shape == (2, 64, 64, 4)


def test_a_training_whose_time_is_over_is_scored_as_it_is(
    filmed: tuple[Path, Path], scored: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    row = train_scored(*filmed, tmp_path, CONFIG, every=20, within=0.0)
    assert sum(row["steps"].values()) <= 20 and row["held_out_psnr"] > 5
    assert (tmp_path / "drawn.npz").exists()
    assert against(row, scored[0]) == {}, "nothing was scored at equal steps"


def test_what_is_compared_was_trained_for_equal_steps() -> None:
    def row(psnr: float, steps: int, *scores: float) -> dict[str, Any]:
        scored = {str(20 * (k + 1)): {"held_out_psnr": score} for k, score in enumerate(scores)}
        return {"held_out_psnr": psnr, "steps": {"static": 20, "network": steps}, "scores": scored}

    still = row(30.0, 60, 25.0, 28.0, 29.0)
    assert against(row(29.5, 60, 24.0, 27.0, 28.9), still) == {"held_out_psnr": -0.5, "step": 60}
    assert against(row(29.5, 50, 24.0, 27.9), still) == {"held_out_psnr": -0.1, "step": 40}
    killed = {"scores": {"20": {"held_out_psnr": 25.5}}}
    assert against(killed, still) == against(killed, {"scores": still["scores"]}) == {"held_out_psnr": 0.5, "step": 20}
    assert against({"held_out_psnr": 29.0}, {"held_out_psnr": 30.0}) == {"held_out_psnr": -1.0}
    assert against(killed, {}) == {}
