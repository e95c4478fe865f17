"""What Ray's exporter is told: all that is rare, frames together, and a quarter of what each frame is measured by."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("ray")

from being.deployments import meter as module
from being.deployments.meter import SAMPLE, RayMeter


class Told:
    """In the place of Ray's metrics."""

    def __init__(self) -> None:
        self.told: list[tuple[float, dict[str, str]]] = []

    def record(self, value: float, tags: dict[str, str]) -> None:
        self.told.append((value, tags))

    inc = set = observe = record


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> RayMeter:
    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(module.metrics, kind, lambda *_, **__: Told())
    return RayMeter()


def told(instruments: dict[str, Any], name: str) -> list[tuple[float, dict[str, str]]]:
    return instruments[name].told


def test_frames_are_counted_together_and_none_is_lost(meter: RayMeter, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    meter._told = now
    for _ in range(100):
        now += 0.04
        meter.add("being_frames", 2.0, kind="distinct")
    lines = told(meter._counters, "being_frames")
    assert 3 <= len(lines) <= 4 and all(tags == {"kind": "distinct"} for _, tags in lines)
    assert sum(value for value, _ in lines) + sum(meter._gathered.values()) == 200


def test_a_steady_figure_is_told_once_a_second_for_each_of_its_labels(
    meter: RayMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    for _ in range(100):
        now += 0.04
        for avatar in ("a", "b"):
            meter.set("being_frame_cost_seconds", now, avatar=avatar, size="8x8")
    lines = told(meter._gauges, "being_frame_cost_seconds")
    for avatar in ("a", "b"):
        values = [value for value, tags in lines if tags["avatar"] == avatar]
        assert len(values) == 4 and values[0] == pytest.approx(100.04)
        assert now - values[-1] <= 1.0, "the last one is not older than that"


def test_what_is_rare_is_told_at_once(meter: RayMeter) -> None:
    meter.add("being_refused", reason="cost")
    meter.add("being_refused", 0.0, reason="cost")
    assert told(meter._counters, "being_refused") == [(1.0, {"reason": "cost"})]


def test_a_quarter_of_each_stage_s_times_is_told(meter: RayMeter) -> None:
    for number in range(10 * SAMPLE):
        meter.observe("being_stage_seconds", float(number), stage="graph")
        meter.observe("being_stage_seconds", float(number), stage="wait")
    times = told(meter._histograms, "being_stage_seconds")
    assert [value for value, tags in times if tags["stage"] == "graph"] == [float(SAMPLE * turn) for turn in range(10)]
    assert len(times) == 20
