"""The shipped phones: bounded, fast, deaf to loudness and room noise, and it hears voices it never heard."""

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from being.audio import espeak
from being.audio.phones import NAMES, RECENT, WEIGHTS, WIDTH, Phones, gated, layout
from being.audio.phones_training.articulation import targets
from being.audio.phones_training.evaluation import score
from being.audio.phones_training.voices import HELD_OUT_VOICES
from being.errors import FormatError

TEXT = "Peter's mother bought a big map of my home. Maybe we should stop, she thought; five yellow boats came by!"
needs_espeak = pytest.mark.skipif(not espeak.available(), reason="libespeak-ng is not installed")


@pytest.fixture(scope="module")
def phones() -> Phones:
    return Phones()


def test_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size <= 3_000_000


def test_values_are_bounded_and_visemes_add_up(phones: Phones) -> None:
    pcm = np.random.default_rng(0).uniform(-1, 1, 32_000).astype(np.float32)
    for gain in (1e-4, 1.0, 100.0):
        steps = phones(gain * pcm)
        assert steps.min() >= 0.0 and steps.max() <= 1.0
        np.testing.assert_allclose(steps[:, :15].sum(axis=1), 1.0, atol=1e-4)


def test_silence_is_a_shut_mouth(phones: Phones) -> None:
    silence = dict(zip(NAMES, phones(np.zeros(16_000, np.float32))[25], strict=True))
    assert silence["sil"] > 0.95
    assert silence["jaw"] < 0.05 and silence["lips_open"] < 0.05 and silence["voiced"] < 0.05


def test_a_quiet_room_is_silence(phones: Phones) -> None:
    rng = np.random.default_rng(1)
    white = rng.normal(size=48_000)
    brown = np.convolve(white, np.exp(-np.arange(200) / 40.0), mode="same")
    for noise in (white, brown):
        for rms in (1e-4, 1e-3, 1e-2):  # -80, -60 and -40 dBFS
            steps = phones((rms * noise / noise.std()).astype(np.float32))[60:-5]
            assert np.abs(steps - phones.silence).mean() < 0.01
            for name in ("jaw", "lips_open"):
                assert steps[:, NAMES.index(name)].mean() < 0.01
                assert steps[:, NAMES.index(name)].max() < 0.25


def test_the_gate_leaves_speech_alone() -> None:
    silence = np.zeros(WIDTH, np.float32)
    speech, pause = np.full((1, WIDTH), 0.5, np.float32), np.full((1, WIDTH), 0.99, np.float32)
    steady = np.full(RECENT + 4, 1e-2)
    np.testing.assert_array_equal(gated(speech, silence, steady), speech)
    np.testing.assert_array_equal(gated(pause, silence, steady), [silence])


@pytest.mark.parametrize(("drop_db", "kept"), [(6, 1.0), (12, 1.0), (19, 0.5), (26, 0.0), (60, 0.0)])
def test_what_is_far_below_the_last_second_is_silence(drop_db: float, kept: float) -> None:
    silence, speech = np.zeros(WIDTH, np.float32), np.full((1, WIDTH), 0.5, np.float32)
    power = np.full(RECENT + 4, 1e-2)
    power[-4:] *= 10 ** (-drop_db / 10)
    np.testing.assert_allclose(gated(speech, silence, power), kept * speech, atol=1e-3)
    np.testing.assert_allclose(gated(speech, silence, 1e-4 * power), kept * speech, atol=1e-3)  # at any level


@needs_espeak
@pytest.mark.parametrize("voice", HELD_OUT_VOICES)
def test_a_voice_never_heard(phones: Phones, voice: str) -> None:
    speech = espeak.synthesize(TEXT, voice, lead_s=0.5, tail_s=0.5)
    pcm = np.pad(speech.pcm, (0, -len(speech.pcm) % 320))
    rms = float(np.sqrt((pcm[np.abs(pcm) > 1e-3] ** 2).mean()))
    scores = score(phones(pcm), targets(speech.events, pcm, rms))
    assert scores["closure_recall"] >= 0.8
    assert scores["accuracy"] >= 0.65
    assert scores["jaw_correlation"] >= 0.85


@needs_espeak
def test_loudness_does_not_matter(phones: Phones) -> None:
    pcm = espeak.synthesize(TEXT, HELD_OUT_VOICES[0]).pcm
    pcm = 0.5 * pcm / np.abs(pcm).max()
    jaw = NAMES.index("jaw")
    usual = phones(pcm)
    for gain_db in (-30.0, -15.0, 6.0):
        steps = phones((10 ** (gain_db / 20) * pcm).astype(np.float32))
        assert np.corrcoef(steps[:, jaw], usual[:, jaw])[0, 1] > 0.95
        assert abs(steps[:, jaw].mean() - usual[:, jaw].mean()) < 0.05


def test_fast_enough_for_live(phones: Phones) -> None:
    pcm = np.random.default_rng(0).normal(size=16 * 16_000).astype(np.float32)
    started = time.perf_counter()
    phones(pcm)
    whole = time.perf_counter() - started
    stream = phones.stream()
    steps = []
    for start in range(0, 100 * 640, 640):
        started = time.perf_counter()
        stream.push(pcm[start : start + 640])
        steps.append(time.perf_counter() - started)
    # Measured 0.06 s and 1.2 ms on one core; the limits leave room for a busy machine.
    assert whole < 1.0
    assert np.median(steps) < 0.010


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    with pytest.raises(FormatError, match="not a readable safetensors file"):
        Phones(tmp_path / "missing.safetensors")
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(WEIGHTS.read_bytes()[:5000])
    with pytest.raises(FormatError, match="not a readable safetensors file"):
        Phones(truncated)
    tensors = load_file(WEIGHTS)
    assert {name: t.shape for name, t in tensors.items()} == layout()
    tensors["head.bias"] = tensors["head.bias"].copy()
    tensors["head.bias"][3] = np.nan
    save_file(tensors, tmp_path / "nan.safetensors")
    with pytest.raises(FormatError, match=r"head\.bias holds numbers that are not finite"):
        Phones(tmp_path / "nan.safetensors")
    tensors["head.bias"] = np.zeros(7, np.float16)
    save_file(tensors, tmp_path / "shape.safetensors")
    with pytest.raises(FormatError, match=r"head\.bias must have the shape \(32,\), found \(7,\)"):
        Phones(tmp_path / "shape.safetensors")


def test_real_speech_is_heard(phones: Phones) -> None:
    clip = Path(__file__).parents[3] / "shared" / "clips" / "speech_en.wav"
    if not clip.is_file():
        pytest.skip("the shared clip of radio English is not here")
    from being.media.reading.sound_reader import open_sound

    pcm = open_sound(clip).model_pcm()
    steps = phones(pcm)
    energy = (np.pad(pcm, (0, -len(pcm) % 320)).reshape(-1, 320) ** 2).mean(axis=1)
    loudness = np.log10(energy + 1e-7)
    assert np.corrcoef(steps[:, NAMES.index("jaw")], loudness)[0, 1] > 0.5
    closed = steps[:, :15].argmax(axis=1) == 1
    closures = np.count_nonzero(np.diff(closed.astype(int)) == 1)
    assert 1.0 < closures / (len(pcm) / 16_000) < 4.0  # p, b and m a second


def test_streams_pushed_together_give_what_each_gives_alone(phones: Phones) -> None:
    rng = np.random.default_rng(1)
    sounds = [0.1 * rng.standard_normal(16_000).astype(np.float32) for _ in range(5)]
    together, alone = [phones.stream() for _ in sounds], [phones.stream() for _ in sounds]
    cuts = [0, 5000, 5640, 6280, 6281, 7000, 7640, 16_000]
    for start, stop in pairwise(cuts):
        behind = [0, 0, 100, 0, 0]  # so that the third's state has another shape
        blocks = [s[max(0, start - lag) : stop - lag] for s, lag in zip(sounds, behind, strict=True)]
        given = phones.push_all(together, blocks)
        for own, stream, block in zip(given, alone, blocks, strict=True):
            np.testing.assert_allclose(own, stream.push(block), atol=2e-5)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.flush(), other.flush(), atol=2e-5)
