"""What a soak calls growth."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from soak_readings import Allowed, Held, Reading, growth, plot

STEADY = Held("Renderer", 7, rss_mib=600.0, threads=40, descriptors=60, shared_mib=8.0)


def quiet(*processes: Held, at_s: float, sessions: int | None = 0) -> Reading:
    return Reading(at_s, True, sessions, processes)


def test_a_steady_process_has_not_grown() -> None:
    readings = [quiet(replace(STEADY, rss_mib=600 + 4 * (n % 3)), at_s=n) for n in range(6)]
    assert growth(readings, Allowed(), warm_up=1) == []


def test_what_grows_is_named() -> None:
    readings = [quiet(replace(STEADY, descriptors=60 + 5 * n), at_s=n) for n in range(6)]
    assert growth(readings, Allowed(), warm_up=1) == [
        "Renderer (7): descriptors went from 65 to 85 over 6 rounds",
    ]
    busy = [replace(one, quiet=False) for one in readings]
    assert growth(busy, Allowed(), warm_up=1) == [], "while people talk there is more of everything"


def test_the_first_rounds_of_a_process_do_not_count_nor_does_its_predecessor() -> None:
    warm = [replace(STEADY, rss_mib=mib) for mib in (300.0, 600.0, 602.0)]
    after_a_kill = [replace(one, pid=8) for one in warm]
    readings = [quiet(one, at_s=n) for n, one in enumerate([*warm, *after_a_kill])]
    assert growth(readings, Allowed(), warm_up=1) == []


def test_a_session_that_is_left_is_named() -> None:
    readings = [quiet(STEADY, at_s=90.0, sessions=1), quiet(STEADY, at_s=180.0, sessions=None)]
    assert growth(readings, Allowed(), warm_up=1) == ["1 sessions are left at 90 s, when everybody had gone"]


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    readings = [quiet(STEADY, at_s=60.0 * n) for n in range(4)]
    plot(readings, [{"at_s": 90.0, "killed": "Renderer", "pid": 7}], tmp_path / "soak.png")
    assert (tmp_path / "soak.png").stat().st_size > 10_000
