"""The road to the phones weights on a corpus of a minute: targets mean what they say; what is trained is shipped."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from being.audio import espeak
from being.audio.espeak import PhoneEvent
from being.audio.phones import LEFT_CONTEXT, NAMES, RECENT, RIGHT_CONTEXT, WEIGHTS, WIDTH, Phones, gated
from being.audio.phones_training.articulation import silence_targets, targets
from being.audio.phones_training.augment import augment, level_only
from being.audio.phones_training.corpus import utterance
from being.audio.phones_training.evaluation import plot_confusion, score
from being.audio.phones_training.network import MelFrames, PhonesNetwork
from being.audio.phones_training.text import sentence
from being.audio.phones_training.voices import HELD_OUT_LANGUAGES, HELD_OUT_VARIANTS, HELD_OUT_VOICES, Casting

needs_espeak = pytest.mark.skipif(not espeak.available(), reason="libespeak-ng is not installed")


def _column(values: np.ndarray, name: str) -> np.ndarray:
    return values[:, NAMES.index(name)]


def _mama() -> np.ndarray:
    """Targets of silence, m (0.5..0.6 s), a (..0.8), u (..1.0), silence."""
    events = [
        PhoneEvent(0.0, 0.5, "", "sil", False),
        PhoneEvent(0.5, 0.6, "m", "PP", False),
        PhoneEvent(0.6, 0.8, "a", "aa", True),
        PhoneEvent(0.8, 1.0, "u", "ou", False),
        PhoneEvent(1.0, 1.6, "", "sil", False),
    ]
    rng = np.random.default_rng(0)
    pcm = np.zeros(25_600, np.float32)
    pcm[8000:16_000] = 0.1 * rng.normal(size=8000)
    return targets(events, pcm, reference_rms=0.1)


def test_targets_follow_the_phones() -> None:
    steps = _mama()
    assert steps.shape == (80, WIDTH)
    assert steps.min() >= 0.0 and steps.max() <= 1.0
    np.testing.assert_allclose(steps[:, :15].sum(axis=1), 1.0, atol=1e-6)
    assert _column(steps, "PP")[25:30].tolist() == [1.0] * 5
    assert _column(steps, "lips_closed")[27] > 0.95
    assert _column(steps, "lips_open")[27] < 0.05
    assert _column(steps, "jaw")[35] > 0.85
    assert _column(steps, "lips_round")[45] > 0.9
    assert _column(steps, "nasal")[27] == 1.0 and _column(steps, "nasal")[35] == 0.0
    assert _column(steps, "stressed")[35] == 1.0 and _column(steps, "stressed")[45] == 0.0
    assert _column(steps, "level")[35] > 0.9 and _column(steps, "level")[10] == 0.0


def test_lips_round_before_the_vowel_sounds() -> None:
    rounding = _column(_mama(), "lips_round")
    assert rounding[38] > rounding[34] + 0.02  # 30 ms before the u against 100 ms


def test_endless_silence_is_the_silent_target() -> None:
    np.testing.assert_allclose(_mama()[75], silence_targets(), atol=1e-3)


@pytest.mark.parametrize("language", ["en-us", "es", "cmn-latn-pinyin", "ru", "hi", "ko", "th", "zu"])
def test_there_is_always_something_to_say(language: str) -> None:
    rng = np.random.default_rng(0)
    said = {sentence(rng, language) for _ in range(20)}
    assert len(said) == 20
    assert all(len(text) > 3 for text in said)


@needs_espeak
def test_the_training_cast_never_meets_what_is_held_out() -> None:
    rng = np.random.default_rng(0)
    cast = Casting("training")
    for _ in range(3000):
        speaker = cast.draw(rng)
        assert speaker.voice.partition("+")[2] not in HELD_OUT_VARIANTS
        assert speaker.language.split("-")[0] not in HELD_OUT_LANGUAGES
    assert {voice.partition("+")[2] for voice in HELD_OUT_VOICES} <= set(HELD_OUT_VARIANTS)
    for name in ("speakers", "languages"):
        drawn = [Casting(name).draw(rng) for _ in range(50)]  # type: ignore[arg-type]
        assert all(speaker.voice.partition("+")[2] in HELD_OUT_VARIANTS for speaker in drawn)
    assert all(speaker.language in HELD_OUT_LANGUAGES for speaker in drawn)


@needs_espeak
def test_an_utterance_has_a_target_for_every_step() -> None:
    rng = np.random.default_rng(3)
    spoken = utterance(rng, Casting("training").draw(rng), warped=True)
    assert spoken is not None
    pcm, labels = spoken
    assert len(pcm) == 320 * len(labels)
    # Where the label says a vowel sounds, it sounds.
    energy = (pcm.reshape(-1, 320) ** 2).mean(axis=1)
    assert np.median(energy[_column(labels, "vowel") > 0.9]) > 100 * np.median(energy[_column(labels, "sil") > 0.99])


def test_augmentation_changes_every_row_and_keeps_it_finite() -> None:
    pcm = 0.1 * torch.sin(torch.arange(16_000) * 0.1).repeat(8, 1)
    heard = augment(pcm, torch.Generator().manual_seed(0))
    assert heard.shape == pcm.shape
    assert torch.isfinite(heard).all() and heard.abs().max() <= 1.0
    assert len({round(float(row.abs().sum()), 3) for row in heard}) == 8
    again = augment(pcm, torch.Generator().manual_seed(0))
    torch.testing.assert_close(heard, again)
    levels = level_only(pcm, torch.Generator().manual_seed(0)).abs().amax(dim=1)
    assert levels.max() / levels.min() > 10.0


def test_the_exported_network_is_the_trained_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PhonesNetwork()
    pcm = 0.1 * torch.randn(4, LEFT_CONTEXT + 50 * 320 + RIGHT_CONTEXT)
    mel = MelFrames()(pcm)
    network.train()(mel)  # moves the statistics of the normalisation away from 0 and 1
    network.eval().save(tmp_path / "phones.safetensors")
    logits = network(mel)[0].detach()
    answer = torch.cat([logits[:, :15].softmax(dim=1), logits[:, 15:].sigmoid()], dim=1).numpy()
    shipped = Phones(tmp_path / "phones.safetensors")
    # The first sample of the span is LEFT_CONTEXT before step 0: not a whole number of steps, so pad it to one.
    padded = np.pad(pcm[0].numpy(), (-LEFT_CONTEXT % 320, 0))
    got = shipped(padded, -(-LEFT_CONTEXT // 320), 50)
    steady = np.ones(len(answer) + RECENT + 3)
    np.testing.assert_allclose(got, gated(answer, shipped.silence, steady), atol=5e-3)  # float16 weights
    assert not list(tmp_path.glob("*.partial"))


def test_weights_survive_loading_and_saving(tmp_path: Path) -> None:
    network = PhonesNetwork().eval()
    network.load(WEIGHTS)
    network.save(tmp_path / "again.safetensors")
    pcm = (0.1 * np.random.default_rng(0).normal(size=8000)).astype(np.float32)
    np.testing.assert_allclose(Phones(tmp_path / "again.safetensors")(pcm), Phones()(pcm), atol=1e-3)


def test_scores_of_a_perfect_and_of_a_deaf_listener(tmp_path: Path) -> None:
    wanted = _mama()
    perfect = score(wanted, wanted)
    assert perfect["accuracy"] == perfect["closure_recall"] == perfect["closure_precision"] == 1.0
    assert perfect["jaw_correlation"] == 1.0
    deaf = score(np.broadcast_to(silence_targets(), wanted.shape) + 1e-6 * wanted, wanted)
    assert deaf["closure_recall"] == 0.0 and deaf["speech_accuracy"] == 0.0
    assert deaf["recall"]["sil"] == 1.0
    plot_confusion(perfect["confusion"], tmp_path / "confusion.png", "perfect")
    assert (tmp_path / "confusion.png").stat().st_size > 5000


@needs_espeak
def test_the_command_from_end_to_end(tmp_path: Path) -> None:
    from being.audio.phones_training.__main__ import main

    arguments = ["--hours", "0.02", "--steps", "3", "--batch", "2", "--minutes-evaluate", "0.3", "--workers", "1"]
    arguments += ["--out", str(tmp_path / "w.safetensors"), "--report", str(tmp_path / "r.json"), "--device", "cpu"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "corpus 100% spoken" in result.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert set(report["scores"]) >= {"speakers, clean", "speakers, distorted", "languages, any level"}
    assert Phones(tmp_path / "w.safetensors")(np.zeros(3200, np.float32)).shape == (10, WIDTH)
