"""Hours of speech with targets, spoken by espeak-ng on every CPU core."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from being.audio import espeak
from being.audio.features import STEP
from being.audio.phones import WIDTH
from being.audio.phones_training.articulation import targets
from being.audio.phones_training.text import sentence
from being.audio.phones_training.voices import Cast, Casting, Speaker
from being.audio.resample import resample
from being.constants import SAMPLE_RATE
from being.errors import BeingError

SPEECH_RMS = 0.08  # every utterance is brought to this level; training draws its own
PIECE_S = 60.0  # seconds of corpus made by one task, about
_WARP = 400  # tract length changes are multiples of 1/40, so that few resampling filters are needed


@dataclass(frozen=True)
class Corpus:
    """pcm (S,) int16 at 16 kHz and targets (S // 320, 32) uint8 (255 = 1), utterances one after the other."""

    pcm: NDArray[np.int16]
    targets: NDArray[np.uint8]
    voices: tuple[str, ...]  # who speaks, once each

    @property
    def hours(self) -> float:
        return len(self.pcm) / SAMPLE_RATE / 3600.0


def make_corpus(
    hours: float,
    *,
    cast: Cast,
    seed: int,
    workers: int,
    progress: Callable[[str], None] = print,
) -> Corpus:
    """Speak for ``hours``. The same arguments give the same texts and speakers, whatever the number of workers.

    Not the same samples: espeak's voice source starts wherever its last utterance left it.
    """
    pieces = max(1, round(hours * 3600.0 / PIECE_S))
    tasks = [(seed, k, cast, hours * 3600.0 / pieces) for k in range(pieces)]
    started, told = time.monotonic(), 0.0
    done: list[Corpus] = []
    with _spoken(tasks, min(workers, pieces)) as spoken:
        for piece in spoken:
            done.append(piece)
            now = time.monotonic() - started
            if now - told > 5.0 or len(done) == pieces:
                told = now
                progress(f"corpus {100 * len(done) // pieces}% spoken, {now:.0f} s")
    return Corpus(
        np.concatenate([c.pcm for c in done]),
        np.concatenate([c.targets for c in done]),
        tuple(sorted({voice for c in done for voice in c.voices})),
    )


@contextmanager
def _spoken(tasks: list[tuple[int, int, Cast, float]], workers: int) -> Iterator[Iterator[Corpus]]:
    """The pieces in order, made by so many processes, or here if one is enough."""
    if workers <= 1:
        yield map(_piece, tasks)
        return
    # spawn: the parent may have a GPU context or threads, which do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield pool.imap(_piece, tasks)


@lru_cache(maxsize=2)
def _casting(cast: Cast) -> Casting:
    return Casting(cast)


def _piece(task: tuple[int, int, Cast, float]) -> Corpus:
    """So many seconds of utterances by a few speakers, and a little more."""
    seed, index, cast, wanted_s = task
    rng = np.random.default_rng([seed, index, *cast.encode()])
    casting = _casting(cast)
    sounds: list[NDArray[np.int16]] = []
    labels: list[NDArray[np.uint8]] = []
    voices: set[str] = set()
    seconds = 0.0
    while seconds < wanted_s:
        speaker = casting.draw(rng)
        for _ in range(3):
            spoken = utterance(rng, speaker, warped=cast == "training")
            if spoken is None:
                break
            voices.add(speaker.voice)
            sounds.append(np.round(spoken[0] * 32767.0).astype(np.int16))
            labels.append(np.round(spoken[1] * 255.0).astype(np.uint8))
            seconds += len(spoken[0]) / SAMPLE_RATE
    return Corpus(np.concatenate(sounds), np.concatenate(labels), tuple(voices))


def utterance(
    rng: np.random.Generator, speaker: Speaker, warped: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """One sentence: pcm (S,) float32 in [-1, 1], targets (S // 320, 32); None if the voice cannot say it.

    ``warped`` stretches time and frequency together by up to 20%: a longer or shorter vocal tract.
    """
    pause = rng.choice(3, p=[0.5, 0.35, 0.15])
    tail_s = float(rng.uniform(*((0.0, 0.3), (0.3, 1.0), (1.0, 3.0))[int(pause)]))
    try:
        speech = espeak.synthesize(
            sentence(rng, speaker.language),
            speaker.voice,
            rate_wpm=int(np.clip(rng.normal(165, 35), 90, 300)),
            pitch=int(rng.integers(15, 90)),
            pitch_range=int(rng.integers(15, 95)),
            lead_s=float(rng.uniform(0.0, 0.25)),
            tail_s=tail_s,
        )
    except BeingError:
        return None
    pcm, events = speech.pcm, speech.events
    if warped and rng.random() < 0.7:
        rate = SAMPLE_RATE + _WARP * int(rng.integers(-7, 9))
        pcm = resample(pcm, rate, SAMPLE_RATE)
        stretch = SAMPLE_RATE / rate
        events = [replace(e, start_s=e.start_s * stretch, end_s=e.end_s * stretch) for e in events]
    sounding = np.abs(pcm) > 1e-3
    if sounding.sum() < SAMPLE_RATE // 5:
        return None
    rms = float(np.sqrt((pcm[sounding] ** 2).mean()))
    pcm = np.pad(pcm, (0, -len(pcm) % STEP))
    labels = targets(events, pcm, rms)
    assert labels.shape == (len(pcm) // STEP, WIDTH)
    return np.clip(pcm * (SPEECH_RMS / rms), -1.0, 1.0).astype(np.float32), labels
