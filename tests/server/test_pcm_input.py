"""PCM in any chunks: both forms of it stay together, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from support.api_server import tone

from being.live.plain import pack, unpack
from being.server.pcm_input import REACH, PcmInput
from being.server.pcm_state import PcmState


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_any_chunks_give_the_same_sound(rate: int) -> None:
    pcm = tone(0.5, rate)
    random = np.random.default_rng(rate)

    def heard(chunks: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        pcm_input = PcmInput(rate)
        parts = [pcm_input.push(chunk) for chunk in chunks] + [pcm_input.flush()]
        for model_pcm, playback_pcm in parts:
            assert playback_pcm.shape == (3 * len(model_pcm), 1)
        return np.concatenate([model_pcm for model_pcm, _ in parts]), np.concatenate(
            [playback_pcm for _, playback_pcm in parts]
        )

    cuts = np.sort(random.integers(0, len(pcm), 40))
    pieces = [pcm[a:b] for a, b in zip([0, *cuts], [*cuts, len(pcm)], strict=True)]
    whole_model, whole_playback = heard([pcm])
    model_pcm, playback_pcm = heard(pieces)
    assert len(model_pcm) == pytest.approx(8000, abs=2)
    np.testing.assert_array_equal(model_pcm, whole_model)
    np.testing.assert_array_equal(playback_pcm, whole_playback)


def test_forgetting_an_interrupted_utterance() -> None:
    pcm_input = PcmInput(16_000)
    pcm_input.push(tone(0.1) + b"\x7f")
    pcm_input.drop()
    model_pcm, _ = pcm_input.push(bytes(3200))
    assert not model_pcm.any(), "half a sample of before must not shift what comes after"


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 24_000, 44_100, 47_975, 48_000])
@pytest.mark.parametrize("before_s", [0.0, 0.001, 0.0301, 0.8])
def test_an_utterance_goes_on_elsewhere_bit_for_bit(rate: int, before_s: float) -> None:
    pcm = tone(1.2, rate)
    cut = 2 * round(before_s * rate) + 1  # in the middle of a sample
    stays, leaves = PcmInput(rate), PcmInput(rate)
    for at in range(0, cut, 640):
        for one in (stays, leaves):
            one.push(pcm[at : min(at + 640, cut)])
    comes = PcmInput.restored(unpack(PcmState, pack(leaves.state())))
    for at in range(cut, len(pcm), 640):
        for a, b in zip(stays.push(pcm[at : at + 640]), comes.push(pcm[at : at + 640]), strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(stays.flush(), comes.flush(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("size", [2, 640, 1 << 20])
def test_of_a_long_utterance_only_the_end_is_remembered(rate: int, size: int) -> None:
    pcm, pcm_input = tone(1.0, rate), PcmInput(rate)
    for at in range(0, len(pcm), size):
        pcm_input.push(pcm[at : at + size])
    state = pcm_input.state()
    assert REACH <= len(state.recent) < REACH + 441
    assert state.recent_from + len(state.recent) == len(pcm) // 2
    whole = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    np.testing.assert_array_equal(state.recent, whole[state.recent_from :])
    assert all(piece.base is None for piece in pcm_input._recent), "no piece keeps a larger one"
    assert sum(map(len, pcm_input._recent)) < REACH + 441 + 640


def test_nothing_is_remembered_of_nothing() -> None:
    pcm_input = PcmInput(16_000)
    for _ in range(50):
        pcm_input.push(b"")
    assert len(pcm_input._recent) == 0
