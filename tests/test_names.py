"""The field's words: names that earlier versions invented stay out of code and prose (docs/glossary.md)."""

from __future__ import annotations

import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted(
    [path for folder in ("being", "deployments", "extern") for path in (ROOT / folder).rglob("*.py")]
    + [ROOT / "train.py"]
)
PROSE = sorted([*CODE, *(ROOT / "docs").glob("*.md"), ROOT / "README.md"])

# Nobody means anything else by these: looked for in code and prose alike. Old word -> the term.
WORDS = {
    "conductor": "scheduler",
    "check_served": "check_serving_policy",
    "CpuPath": "CpuBackend",
    "feelings": "emotion targets",
    "GpuPath": "GpuBackend",
    "Keeper": "CheckpointStore",
    "keep_ear": "freeze_audio_encoder",
    "keep_to_heard": "token_support",
    "lender": "donor, pretrained weights",
    "ListeningLayer": "SpatialAudioAttention",
    "LocalGraph": "InProcessGraph",
    "Outbox": "SendQueue",
    "performer": "renderable avatar",
    "prior_parts": "pretrained_parts",
    "shares_of": "part labels",
    "shortcut": "approximation",
    "SoundLine": "AudioTimeline",
    "SpanRecall": "FeatureCache",
    "SpanRequest": "FrameRequest",
    "Stagecraft": "RenderSettings",
    "stay_among": "clamp_to_support",
    "verdict": "assessment",
}
# Ordinary words, wrong only as names.
NAMES = {
    "craft": "settings",
    "crew": "thread_split",
    "dice": "rng, generator",
    "ear": "audio encoder",
    "ears": "playback_pcm",
    "hear": "push_audio",
    "intake": "pcm_input",
    "likeness": "lip_sync",
    "lite": "distilled",
    "lend": "copy_into",
    "obey": "dispatch",
    "proof": "quality",
    "prove": "run_quality_suite",
    "recall": "feature_cache",
    "served": "serving_policy",
    "standing": "consent trust",
    "survey": "scan, motion_stats",
    "team": "process_group",
    "viewer": "client session",
    "viewers": "client sessions",
    "wish": "emotion targets",
}
# Wrong only as names of what is played live; elsewhere they are words of pictures, files and geometry.
LIVE = ("being/server/", "being/live/", "being/graph/", "being/api/", "deployments/")
LIVE_NAMES = {
    "clock": "frame_loop",
    "face": "model_pcm",
    "film": "job, video",
    "heard": "playback, known",
    "reach": "audio_range",
    "tell": "emit",
    "told": "reported",
}
# Where an old name is meant: what reads avatars, checkpoints and command lines of earlier versions, and what
# diffusers calls its modules.
ALLOWED = {
    "being/avatar/former_names.py",
    "being/model/network.py",
    "being/refine/streamdiffusion/layers.py",
    "being/training/former_names.py",
    "docs/avatar-format.md",
    "docs/glossary.md",
}


def elsewhere(paths: list[Path]) -> list[Path]:
    return [path for path in paths if path.relative_to(ROOT).as_posix() not in ALLOWED]


@pytest.mark.parametrize("word", sorted(WORDS))
def test_word_is_gone(word: str) -> None:
    pattern = re.compile(rf"(?<![a-z]){word}s?(?![a-z])", re.IGNORECASE if word.islower() else 0)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in elsewhere(PROSE)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found, f"say {WORDS[word]}"


def test_names_are_the_fields() -> None:
    found = []
    for path in elsewhere(CODE):
        with tokenize.open(path) as file:
            tokens = [token for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.NAME]
        live = path.relative_to(ROOT).as_posix().startswith(LIVE)
        wrong = NAMES | LIVE_NAMES if live else NAMES
        found += [
            f"{path.relative_to(ROOT)}:{token.start[0]}: {token.string} -> {wrong[token.string]}"
            for token in tokens
            if token.string in wrong
        ]
    assert not found


def test_allowed_files_are_there_and_needed() -> None:
    """An exception that nothing needs any more goes."""
    words = re.compile("|".join([*WORDS, "lite", '"prior"', "prove", "settle"]))
    for name in ALLOWED - {"docs/glossary.md"}:
        assert words.search((ROOT / name).read_text()), name
