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
        intake = PcmInput(rate)
        parts = [intake.push(chunk) for chunk in chunks] + [intake.flush()]
        for face, ears in parts:
            assert ears.shape == (3 * len(face), 1)
        return np.concatenate([face for face, _ in parts]), np.concatenate([ears for _, ears in parts])

    cuts = np.sort(random.integers(0, len(pcm), 40))
    pieces = [pcm[a:b] for a, b in zip([0, *cuts], [*cuts, len(pcm)], strict=True)]
    whole_face, whole_ears = heard([pcm])
    face, ears = heard(pieces)
    assert len(face) == pytest.approx(8000, abs=2)
    np.testing.assert_allclose(face, whole_face[: len(face)], atol=1e-5)
    np.testing.assert_allclose(ears, whole_ears[: len(ears)], atol=1e-5)


def test_forgetting_an_interrupted_utterance() -> None:
    intake = PcmInput(16_000)
    intake.push(tone(0.1) + b"\x7f")
    intake.drop()
    face, _ = intake.push(bytes(3200))
    assert not face.any(), "half a sample of before must not shift what comes after"
