"""Phones with times -> the 32 training targets of every step.

Each phone pulls every articulator to a target with a certain dominance; the curve is the dominance-weighted mean of
the targets, smoothed as fast as that articulator can move (the coarticulation model of Cohen and Massaro 1993, with
Gaussian dominance). So the lips round before an /u/ is heard, the jaw hardly moves for an /h/, and closure stays crisp.
"""

# ruff: noqa: RUF001 -- IPA letters are meant, not the Latin ones they resemble
from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from being.audio.espeak import PhoneEvent
from being.audio.features import STEP
from being.audio.phones import WIDTH
from being.audio.visemes import SILENCE, VISEMES, VOWELS
from being.constants import SAMPLE_RATE

GRID = 4  # points of the target curves per step: 5 ms
_SPEED_MS = (25.0, 22.0, 35.0, 40.0, 9.0, 12.0, 15.0, 15.0, 25.0, 12.0)  # standard deviation of each one's smoothing

# jaw, open, spread, round, closed, lip on teeth, teeth together, tongue tip, front, out
_TARGETS: dict[str, tuple[float, ...]] = {
    "sil": (0.00, 0.00, 0.30, 0.0, 0.5, 0.0, 0.0, 0.0, 0.5, 0.0),
    "PP": (0.10, 0.00, 0.30, 0.1, 1.0, 0.0, 0.0, 0.0, 0.5, 0.0),
    "FF": (0.15, 0.15, 0.35, 0.0, 0.0, 1.0, 0.2, 0.0, 0.5, 0.0),
    "TH": (0.20, 0.30, 0.40, 0.0, 0.0, 0.0, 0.3, 0.8, 1.0, 1.0),
    "DD": (0.20, 0.35, 0.40, 0.0, 0.0, 0.0, 0.4, 1.0, 0.8, 0.0),
    "kk": (0.30, 0.45, 0.40, 0.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.0),
    "CH": (0.12, 0.40, 0.20, 0.6, 0.0, 0.0, 0.8, 0.7, 0.7, 0.0),
    "SS": (0.08, 0.35, 0.60, 0.0, 0.0, 0.0, 1.0, 0.8, 0.8, 0.0),
    "nn": (0.25, 0.40, 0.40, 0.0, 0.0, 0.0, 0.2, 1.0, 0.7, 0.0),
    "RR": (0.20, 0.35, 0.25, 0.35, 0.0, 0.0, 0.1, 0.5, 0.5, 0.0),
    "aa": (0.90, 0.90, 0.45, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 0.0),
    "E": (0.50, 0.60, 0.60, 0.0, 0.0, 0.0, 0.0, 0.1, 0.7, 0.0),
    "ih": (0.25, 0.40, 0.80, 0.0, 0.0, 0.0, 0.1, 0.2, 1.0, 0.0),
    "oh": (0.55, 0.60, 0.10, 0.7, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0),
    "ou": (0.20, 0.25, 0.00, 1.0, 0.0, 0.0, 0.0, 0.0, 0.15, 0.0),
}
_DOMINANCE: dict[str, tuple[float, ...]] = {
    "sil": (0.8, 0.8, 0.3, 0.5, 1.0, 1.0, 1.0, 0.5, 0.2, 1.0),
    "PP": (0.8, 2.0, 0.2, 0.2, 4.0, 1.0, 0.5, 0.1, 0.1, 1.0),
    "FF": (0.8, 1.5, 0.4, 0.5, 2.0, 4.0, 0.5, 0.1, 0.1, 1.0),
    "TH": (0.6, 0.6, 0.3, 0.3, 1.0, 1.0, 1.0, 1.5, 1.0, 4.0),
    "DD": (0.6, 0.6, 0.2, 0.2, 1.0, 1.0, 1.0, 2.0, 0.8, 1.0),
    "kk": (0.3, 0.3, 0.15, 0.15, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0),
    "CH": (1.2, 0.8, 0.8, 1.2, 1.0, 1.0, 2.0, 1.5, 1.0, 1.0),
    "SS": (1.4, 0.8, 0.5, 0.4, 1.0, 1.0, 2.5, 1.5, 1.0, 1.0),
    "nn": (0.5, 0.5, 0.2, 0.2, 1.0, 1.0, 0.7, 2.0, 0.7, 1.0),
    "RR": (0.6, 0.6, 0.5, 0.7, 1.0, 1.0, 0.7, 1.0, 0.7, 1.0),
}
_VOWEL_DOMINANCE = (1.0, 1.0, 1.0, 1.2, 1.0, 1.0, 1.0, 0.5, 1.2, 1.0)
# Vowels that differ visibly from their class: jaw, open, spread, round, tongue front.
_VOWELS: dict[str, tuple[float, float, float, float, float]] = {
    "æ": (0.85, 0.85, 0.65, 0.0, 0.7), "ɐ": (0.65, 0.70, 0.45, 0.0, 0.4), "ʌ": (0.65, 0.70, 0.40, 0.0, 0.3),
    "ɑ": (0.95, 0.90, 0.35, 0.0, 0.1), "e": (0.40, 0.50, 0.75, 0.0, 0.9), "ɛ": (0.60, 0.65, 0.60, 0.0, 0.8),
    "ə": (0.35, 0.42, 0.45, 0.0, 0.5), "ɜ": (0.45, 0.50, 0.40, 0.1, 0.5), "ɪ": (0.32, 0.45, 0.65, 0.0, 0.85),
    "ɔ": (0.65, 0.65, 0.10, 0.6, 0.15), "o": (0.45, 0.45, 0.05, 0.8, 0.15), "ɒ": (0.75, 0.75, 0.15, 0.4, 0.1),
    "ʊ": (0.28, 0.32, 0.05, 0.8, 0.25), "w": (0.15, 0.15, 0.00, 1.0, 0.1), "j": (0.18, 0.32, 0.80, 0.0, 1.0),
    "y": (0.20, 0.25, 0.05, 0.95, 0.95), "ʏ": (0.28, 0.32, 0.10, 0.8, 0.8), "ø": (0.45, 0.45, 0.10, 0.8, 0.8),
    "œ": (0.60, 0.60, 0.15, 0.6, 0.7), "ɨ": (0.25, 0.40, 0.60, 0.0, 0.6), "ɯ": (0.25, 0.40, 0.55, 0.0, 0.2),
}  # fmt: skip
_FREE = {"h": 0.1, "ɦ": 0.1, "ʔ": 0.15, "ə": 0.5, "ɐ": 0.7}  # phones that let their neighbours decide
_VOICELESS = frozenset("ptkqcfθsʃɕʂçxχħhɸʈʔɬʦʧʨ")
_NASAL = frozenset("mnŋɲɳɴɱ")
_LONG_PAUSE_S = 0.25  # a shorter pause is still speaking
_LEVEL_RANGE_DB = 40.0


def targets(events: list[PhoneEvent], pcm: NDArray[np.float32], reference_rms: float) -> NDArray[np.float32]:
    """Targets of every step of an utterance.

    Parameters
    ----------
    events : list[PhoneEvent]
        Without gaps from 0 to the end of pcm.
    pcm : (S,) float32, 16 kHz, S a multiple of STEP
    reference_rms : float
        Level of the speaker's speech: the "level" target is 1 there and 0 at 40 dB below.

    Returns
    -------
    (S // STEP, WIDTH) float32 in [0, 1]
    """
    steps = len(pcm) // STEP
    points = steps * GRID
    edges = np.array([event.start_s for event in events[1:]]) * SAMPLE_RATE * GRID / STEP
    which = np.searchsorted(edges, np.arange(points) + 0.5, side="right")  # the event at each point

    pull = np.array([_pull(event) for event in events])  # (E, 2, 10)
    goal, dominance = pull[which, 0], pull[which, 1]
    moved = np.empty_like(goal)
    for k, speed in enumerate(_SPEED_MS):
        kernel = _gaussian(speed)
        moved[:, k] = _smooth(goal[:, k] * dominance[:, k], kernel) / _smooth(dominance[:, k], kernel)
    moved[:, 1] *= 1.0 - np.clip(2.0 * moved[:, 4] - 1.0, 0.0, 1.0)  # pressed lips are not open
    speed_of_lips = np.abs(np.gradient(moved[:, 1])) * (SAMPLE_RATE / STEP * GRID)  # openings per second

    own = np.array([_own(event) for event in events])[which]  # voiced, vowel, nasal, speaking, stressed
    level = _level(pcm, reference_rms)
    viseme = np.eye(len(VISEMES))[[VISEMES.index(event.viseme) for event in events]][which]
    curves = np.column_stack(
        [viseme, moved, own[:, 0], level, own[:, 1:4], np.clip(speed_of_lips / 10.0, 0.0, 1.0), own[:, 4]]
    )
    return np.clip(curves, 0.0, 1.0).reshape(steps, GRID, WIDTH).mean(axis=1).astype(np.float32)


@lru_cache(maxsize=1)
def silence_targets() -> NDArray[np.float32]:
    """(WIDTH,) the targets of a step around which nobody speaks."""
    silent = PhoneEvent(0.0, 1.0, "", SILENCE, False)
    return targets([silent], np.zeros(SAMPLE_RATE, np.float32), 1.0)[0]


def _pull(event: PhoneEvent) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Targets and dominances (10 each) of one phone."""
    goal = list(_TARGETS[event.viseme])
    dominance = list(_DOMINANCE.get(event.viseme, _VOWEL_DOMINANCE))
    letter = event.ipa[:1]
    if letter in _VOWELS:
        goal[0], goal[1], goal[2], goal[3], goal[8] = _VOWELS[letter]
    if event.viseme in VOWELS and event.stressed:
        goal[0], goal[1] = min(1.0, 1.12 * goal[0]), min(1.0, 1.12 * goal[1])
    free = _FREE.get(letter, 1.0)
    return tuple(goal), tuple(free * d for d in dominance)


def _own(event: PhoneEvent) -> tuple[float, ...]:
    sound = bool(event.ipa)
    letter = event.ipa[:1]
    vowel = sound and event.viseme in VOWELS and letter not in "jw"
    return (
        float(sound and letter not in _VOICELESS),
        float(vowel),
        float(letter in _NASAL or "\u0303" in event.ipa),
        float(sound or event.end_s - event.start_s < _LONG_PAUSE_S),
        float(vowel and event.stressed),
    )


def _level(pcm: NDArray[np.float32], reference_rms: float) -> NDArray[np.float64]:
    """(points,) loudness of 20 ms around each point: 1 at the reference, 0 at 40 dB below it."""
    energy = (pcm.astype(np.float64) ** 2).reshape(-1, STEP // GRID).mean(axis=1)
    energy = np.convolve(energy, np.full(GRID, 1.0 / GRID), mode="same")
    return np.clip(1.0 + 10.0 * np.log10(energy / reference_rms**2 + 1e-12) / _LEVEL_RANGE_DB, 0.0, 1.0)


def _gaussian(speed_ms: float) -> NDArray[np.float64]:
    sigma = speed_ms / 5.0  # points
    reach = int(np.ceil(3.0 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return kernel / kernel.sum()


def _smooth(curve: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    reach = len(kernel) // 2
    return np.convolve(np.pad(curve, reach, mode="edge"), kernel, mode="valid")
