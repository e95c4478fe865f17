"""The table of benchmarks/quality.py: medians over seeds, and what ought to be shut."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
quality = pytest.importorskip("quality", reason="needs what the benchmark needs")


def test_a_row_is_the_median_of_its_seeds_and_columns_nobody_measured_are_left_out() -> None:
    rows = [{"name": "a", "variant": "now", "psnr_face": value, "vgg": None} for value in (30.0, 31.0, 36.0)]
    rows.append({"name": "a", "variant": "more", "psnr_face": 28.5, "vgg": None})
    lines = quality.table(rows).splitlines()
    assert lines[0] == "| clip | variant | seeds | face dB |"
    assert lines[2:] == ["| a | now | 3 | 31 |", "| a | more | 1 | 28.5 |"]


def test_openings_are_told_against_the_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mouth that opens half as wide as the film's, shut in one of two p, b, m."""
    gap = np.abs(np.sin(np.arange(50) / 4)).astype(np.float32) * 0.1
    gap[10:13] = 0.0
    gap[30:33] = 0.05
    monkeypatch.setattr(quality, "track", lambda frames: (frames, np.ones(len(frames), bool)))
    monkeypatch.setattr(quality, "openings", lambda marks: marks)
    spans = quality.spans_of(np.isin(np.arange(50), (11, 31)))
    assert spans.tolist() == [[11, 12], [31, 32]]
    np.save(tmp_path / "closures.npy", spans)
    pcm = np.random.default_rng(0).normal(0, 0.1, 2 * 16_000).astype(np.float32)
    row = quality.spoken(gap, pcm, 2 * gap, tmp_path)
    assert row["speech_range"] == pytest.approx(0.5, abs=0.01)
    assert (row["closures"], row["closures_shut"]) == (2, 0.5)
