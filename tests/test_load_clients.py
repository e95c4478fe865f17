"""The judge of a live session: what it says of a stream whose delays and repeats are known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from being.media.contract import StreamFormat
from being.media.fmp4_sink import Fmp4Sink

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from live_client import FPS, RATE, Recording
from load_clients import judged

SECONDS = 6
DELAY_S = 0.05
LOOK_AHEAD_S = 0.1


class Picture:
    """A drawn frame."""

    alpha = error = None

    def __init__(self, index: int) -> None:
        self.index = index
        luma = np.random.default_rng(index).integers(16, 235, (48, 64))
        self.image = np.concatenate([luma, np.full((24, 64), 128)]).astype(np.uint8)


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Every tenth frame repeats the one before; each fragment arrives DELAY_S after its last sound was sent."""
    speech = np.random.default_rng(0).normal(0, 0.1, SECONDS * RATE).astype(np.float32)
    recording = Recording(speech=speech, ready={"look_ahead_ms": 1000 * LOOK_AHEAD_S})
    recording.sent = [(end / RATE, end) for end in range(320, len(speech) + 1, 320)]
    sink = Fmp4Sink(StreamFormat(64, 48))
    for frame in range(SECONDS * FPS):
        if frame % 10 == 9:
            sink.repeat(frame)
        else:
            sink.picture(frame, Picture(frame))
        sink.sound(np.repeat(speech[frame * 640 : (frame + 1) * 640], 3)[:, None])
        sink.flush()
        arrives = (frame + 1) / FPS + LOOK_AHEAD_S + DELAY_S
        while (piece := sink.queue.take()) is not None:
            recording.pieces.append((arrives, piece))
        if frame % FPS == FPS - 1:  # an encoder polishes a picture that is shown again: the server counts
            recording.events.append((arrives, {"type": "stats", "repeats": (frame + 1) // 10}))
    return recording


def test_latency_and_repeats_of_a_whole_stream(recording: Recording) -> None:
    result, curve = judged(recording, (0.0, 100.0))
    assert result.frames == SECONDS * FPS and result.missing == 0
    assert result.repeated_share == pytest.approx(0.1, abs=0.01)
    assert result.distinct_per_s == pytest.approx(0.9 * FPS, abs=0.3)
    assert len(curve) > 0.8 * result.frames
    assert result.p50 == pytest.approx(1000 * DELAY_S, abs=15), "sound is sent in pieces of 20 ms, and coded"
    assert result.sound_match > 0.8
    assert result.client_late_p99 == pytest.approx(0, abs=1e-6)


def test_only_the_window_counts(recording: Recording) -> None:
    result, curve = judged(recording, (2.0, 4.0))
    assert result.frames == pytest.approx(2 * FPS, abs=1)
    assert result.distinct_per_s == pytest.approx(0.9 * FPS, abs=1.0)
    assert len(curve) <= result.frames
    with pytest.raises(ValueError, match="the time that counts"):
        judged(recording, (50.0, 60.0))
