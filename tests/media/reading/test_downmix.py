"""Loudspeaker layouts mixed as players mix them, and sides that cancel."""

from __future__ import annotations

import av
import numpy as np
import pytest

from being.media.reading.downmix import Levels, gains, mix

NOISE = np.random.default_rng(0).normal(size=(8, 4000)).astype(np.float32) * 0.1


@pytest.mark.parametrize("layout", ["2.1", "3.0", "4.0", "quad", "5.0", "5.1", "5.1(side)", "6.0", "6.1", "7.0", "7.1"])
def test_the_mix_is_that_of_ffmpeg(layout: str) -> None:
    names = tuple(channel.name for channel in av.AudioLayout(layout).channels)
    planes = NOISE[: len(names)]
    packed = np.ascontiguousarray(planes.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate = 48_000
    converter = av.AudioResampler(format="flt", layout="stereo", rate=48_000)
    theirs = np.concatenate(
        [part.to_ndarray().reshape(-1, 2) for part in [*converter.resample(frame), *converter.resample(None)]]
    )
    np.testing.assert_allclose(mix(planes, names, 2), theirs, atol=1e-5)


def test_channels_without_names_go_by_their_number() -> None:
    np.testing.assert_array_equal(gains(("NONE",) * 6), gains(("FL", "FR", "FC", "LFE", "BL", "BR")))
    assert gains(("NONE",) * 12) == pytest.approx(1 / 12)


def test_one_and_two_channels_stay_as_they_are() -> None:
    np.testing.assert_array_equal(mix(NOISE[:1], ("FC",), 1), NOISE[:1].T)
    np.testing.assert_array_equal(mix(NOISE[:1], ("FC",), 2), np.repeat(NOISE[:1].T, 2, axis=1))
    np.testing.assert_array_equal(mix(NOISE[:2], ("FL", "FR"), 2), NOISE[:2].T)


@pytest.mark.parametrize(
    ("left", "right", "weights"),
    [
        (1.0, 1.0, (0.5, 0.5)),
        (1.0, 0.0, (0.5, 0.5)),
        (1.0, -1.0, (1.0, 0.0)),
        (0.6, -1.0, (0.0, 1.0)),
        (1.0, -0.3, (0.5, 0.5)),
    ],
)
def test_the_louder_side_is_heard_where_they_cancel(left: float, right: float, weights: tuple[float, float]) -> None:
    levels = Levels()
    for block in np.array_split(np.stack([left * NOISE[0], right * NOISE[0]], axis=1), 7):
        levels.add(block)
    assert levels.model_weights() == weights
    assert levels.peak == pytest.approx(np.abs(NOISE[0]).max() * max(abs(left), abs(right)))


def test_unlike_sides_do_not_cancel() -> None:
    levels = Levels()
    levels.add(NOISE[:2].T)
    assert not levels.cancel and not (levels + Levels()).cancel
