"""Latencies, frames a second and drops of a session, on plain numbers."""

from __future__ import annotations

import numpy as np

from being.inference.frames import FrameRecord
from being.live.scheduler import Picture, Repeat, Sound
from being.server.metrics import PrometheusMeter
from being.server.session_stats import SessionStats, quantile


def picture(index: int) -> Picture:
    record = FrameRecord(index, 0, np.zeros((2, 2, 3), np.uint8), None, None, None, np.eye(3, 4, dtype=np.float32))
    return Picture("s", index, record)


def test_latency_is_from_the_tick_to_the_encoded_picture() -> None:
    meter = PrometheusMeter()
    stats = SessionStats(meter)
    stats.restart(0.0)
    assert stats.latency() is None
    for frame in range(50):
        now = 0.04 * frame
        stats.due(range(frame, frame + 1), now)
        delivery = picture(frame) if frame % 5 else Repeat("s", frame, "late")
        stats.encoded([Sound("s", frame, np.zeros((1920, 1), np.float32)), delivery], 0.002, now + 0.03)
    latency = stats.latency()
    assert latency is not None and latency.p50 == latency.p99 == 30.0
    assert stats.repeats == 10
    assert stats.fps(49 * 0.04 + 0.03) == 20
    assert stats.fps(60.0) == 0
    exposed = meter.exposition().decode()
    assert 'being_frames_total{kind="distinct"} 40.0' in exposed
    assert 'being_frames_total{kind="repeated"} 10.0' in exposed


def test_drops_are_counted_over_streams_and_told_once() -> None:
    meter = PrometheusMeter()
    stats = SessionStats(meter)
    stats.restart(0.0)
    assert not stats.report_is_due(0.9, stats.dropped(3))
    assert stats.report_is_due(1.0, stats.dropped(3))
    stats.stream_closed(3)
    assert stats.dropped(2) == 5
    assert stats.report_is_due(2.0, stats.dropped(2))
    assert "being_dropped_pieces_total 5.0" in meter.exposition().decode()


def test_quantiles_are_numpys() -> None:
    generator = np.random.default_rng(0)
    for count in (1, 2, 7, 250):
        numbers = generator.normal(size=count).tolist()
        for share in (0.0, 0.5, 0.95, 0.99, 1.0):
            assert np.isclose(quantile(sorted(numbers), share), np.quantile(numbers, share), rtol=1e-12)
