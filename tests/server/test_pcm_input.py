"""PCM in any chunks: both forms of it stay together, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from support.api_server import tone

from being.server.pcm_input import PcmInput


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
    np.testing.assert_allclose(model_pcm, whole_model[: len(model_pcm)], atol=1e-5)
    np.testing.assert_allclose(playback_pcm, whole_playback[: len(playback_pcm)], atol=1e-5)


def test_forgetting_an_interrupted_utterance() -> None:
    pcm_input = PcmInput(16_000)
    pcm_input.push(tone(0.1) + b"\x7f")
    pcm_input.drop()
    model_pcm, _ = pcm_input.push(bytes(3200))
    assert not model_pcm.any(), "half a sample of before must not shift what comes after"
