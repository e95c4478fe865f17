"""One clock for joined recordings, the same for sound and pictures."""

from __future__ import annotations

import numpy as np
import pytest

from being.media.reading.file_clock import PacketLog, find_clock


def recorded(*parts: tuple[int, float, float, float]) -> PacketLog:
    """Packets of 40 ms: (stream, first stamp, how many seconds, where in the file it begins)."""
    packets = []
    for stream, first, seconds, place in parts:
        for index in range(round(seconds / 0.04)):
            packets.append((place + index * 0.04, stream, first + index * 0.04))
    log = PacketLog()
    for _, stream, stamp in sorted(packets):
        log.streams.append(stream)
        log.stamps.append(stamp)
        log.shown.append(stamp)
        log.seconds.append(0.04)
    return log


def test_one_recording_has_its_own_clock() -> None:
    clock = find_clock(recorded((0, 1.4, 4.0, 0.0), (1, 1.44, 4.0, 0.1)), "mpegts")
    assert clock.joints == () and clock.notes() == ()
    assert clock.begins_s(1) == pytest.approx(1.44)
    assert clock.follow(0)(2.0) == 2.0


def test_a_clock_that_starts_again_is_carried_on_for_both_streams_alike() -> None:
    log = recorded((0, 1.40, 4.0, 0.0), (1, 1.44, 4.0, 0.5), (0, 1.40, 6.0, 4.6), (1, 1.44, 6.0, 5.1))
    clock = find_clock(log, "mpegts")
    assert clock.joints == pytest.approx((5.44,))  # where the longer stream ended
    assert "2 recordings are joined, the clock is carried on at 4.04 s" in str(clock.notes(1.40)[0])
    pictures, sound = clock.follow(0), clock.follow(1)
    for follow, first in ((pictures, 1.40), (sound, 1.44)):
        for stamp in first + 0.04 * np.arange(100):
            assert follow(stamp) == stamp
        later = [follow(stamp) for stamp in first + 0.04 * np.arange(150)]
        np.testing.assert_allclose(later, first + 0.04 * np.arange(150) + 4.04)


@pytest.mark.parametrize(("format", "joints"), [("mpegts", 1), ("mov,mp4,m4a,3gp,3g2,mj2", 0)])
def test_a_jump_ahead_is_a_joint_only_where_joining_is_usual(format: str, joints: int) -> None:
    log = recorded((0, 0.0, 2.0, 0.0), (0, 3600.0, 2.0, 2.0))
    assert len(find_clock(log, format).joints) == joints


def test_three_recordings_and_a_stray_stamp() -> None:
    log = recorded((0, 0.0, 2.0, 0.0), (0, 0.0, 2.0, 2.0), (0, 0.0, 2.0, 4.0))
    log.stamps[20] += 9.0
    clock = find_clock(log, "mpegts")
    assert clock.joints == pytest.approx((2.0, 4.0))


def test_packets_without_a_decoding_time_belong_to_the_stretch() -> None:
    log = recorded((0, 0.0, 2.0, 0.0))
    log.shown = [stamp + 0.08 for stamp in log.stamps]
    log.shown[:3] = [0.04, 0.16, 0.08]
    log.stamps[:3] = [np.nan] * 3
    clock = find_clock(log, "matroska,webm")
    assert clock.begins_s(0) == pytest.approx(0.04) and clock.joints == ()


def test_small_steps_back_are_overlaps_and_no_joints() -> None:
    log = recorded((0, 0.0, 2.0, 0.0), (0, 1.95, 2.0, 2.0))
    assert find_clock(log, "mpegts").joints == ()
