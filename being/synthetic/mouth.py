"""Speech to lips: the phones' visemes become smooth curves of the mouth's controls.

Each phone pulls the mouth to its viseme's shape with a weight that rises shortly before it sounds and falls shortly
after; the shape is the weighted mean. Anticipation is short on purpose: a live avatar hears about 100 ms ahead, so what
its lips do must be decided by what it can hear. p, b, m close the lips and f, v bring the lower lip to the teeth
whatever the neighbours want.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from being.audio.espeak import PhoneEvent
from being.audio.visemes import VISEMES, VOWELS

CONTROLS = ("jaw", "spread", "round", "upper", "lower", "roll", "press", "tongue_up", "tongue_out")

# Shapes a full-voiced phone aims at, in the order of CONTROLS.
SHAPES: dict[str, tuple[float, ...]] = {
    "sil": (0.00, 0.00, 0.00, 0.00, 0.00, 0.0, 0.0, 0.0, 0.0),
    "PP": (0.10, 0.00, 0.05, 0.00, 0.00, 0.0, 1.0, 0.0, 0.0),
    "FF": (0.14, 0.10, 0.00, 0.70, 0.00, 1.0, 0.0, 0.0, 0.0),
    "TH": (0.22, 0.10, 0.00, 0.30, 0.30, 0.0, 0.0, 0.6, 1.0),
    "DD": (0.20, 0.15, 0.00, 0.30, 0.35, 0.0, 0.0, 1.0, 0.3),
    "kk": (0.28, 0.10, 0.00, 0.25, 0.25, 0.0, 0.0, 0.2, 0.0),
    "CH": (0.16, 0.00, 0.60, 0.60, 0.60, 0.0, 0.0, 0.3, 0.0),
    "SS": (0.09, 0.45, 0.00, 0.55, 0.60, 0.0, 0.0, 0.3, 0.0),
    "nn": (0.22, 0.10, 0.00, 0.25, 0.25, 0.0, 0.0, 1.0, 0.2),
    "RR": (0.24, 0.00, 0.42, 0.20, 0.25, 0.0, 0.0, 0.5, 0.0),
    "aa": (0.84, 0.10, 0.00, 0.20, 0.25, 0.0, 0.0, 0.0, 0.0),
    "E": (0.55, 0.40, 0.00, 0.25, 0.25, 0.0, 0.0, 0.1, 0.2),
    "ih": (0.30, 0.60, 0.00, 0.30, 0.35, 0.0, 0.0, 0.2, 0.3),
    "oh": (0.62, 0.00, 0.65, 0.10, 0.10, 0.0, 0.0, 0.0, 0.0),
    "ou": (0.25, 0.00, 1.00, 0.15, 0.15, 0.0, 0.0, 0.0, 0.0),
}

FINE_RATE = 200  # steps per second the curves are computed at
RISE_S, FALL_S = 0.060, 0.090  # a phone's weight grows before it sounds and fades after
SMOOTH_S = 0.020  # reach of the last smoothing to either side: anticipation is RISE_S + SMOOTH_S at most
CLOSURE_S = 0.056  # a closure is complete for this long: more than one frame of 40 ms
CLOSURE_EDGE_S, RELEASE_S = 0.050, 0.080
LOUD_RMS = 0.12  # level of a stressed vowel in the normalised voice
LOUDNESS_WINDOW_S = 0.08

# How firmly a viseme holds its shape against its neighbours.
_FIRMNESS = {"sil": 0.9, "PP": 1.0, "FF": 1.2, "SS": 0.9, "CH": 1.1, "TH": 0.9, "ou": 1.3, "oh": 1.2, "aa": 1.2}


def _cosine_ramp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(x, 0.0, 1.0))


def _hold(times: NDArray[np.float64], start: float, end: float, rise: float, fall: float) -> NDArray[np.float64]:
    """1 between start and end, with cosine flanks outside."""
    return np.minimum(_cosine_ramp((times - start + rise) / rise), _cosine_ramp((end + fall - times) / fall))


def _loudness(pcm: NDArray[np.float32], rate: int, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """RMS of the sound in a short window around each time."""
    power = np.concatenate([[0.0], np.cumsum(np.square(pcm, dtype=np.float64))])
    low = np.clip(((times - 0.5 * LOUDNESS_WINDOW_S) * rate).astype(int), 0, len(pcm))
    high = np.clip(((times + 0.5 * LOUDNESS_WINDOW_S) * rate).astype(int), 0, len(pcm))
    return np.sqrt((power[high] - power[low]) / (LOUDNESS_WINDOW_S * rate))


def closure_of(event: PhoneEvent) -> tuple[float, float]:
    """When the lips of a p, b, m (or lip to teeth of an f, v) are fully together: start and end, seconds.

    The closure stands in the first part of the phone: a stop's burst and what follows it are already opening.
    """
    share = 0.42 if event.viseme == "PP" else 0.5
    centre = event.start_s + min(event.end_s - event.start_s, 0.16) * share
    half = 0.5 * max(CLOSURE_S, min(0.08, 0.6 * (event.end_s - event.start_s)))
    return centre - half, centre + half


def mouth_curves(
    events: Sequence[PhoneEvent], pcm: NDArray[np.float32], frame_times: NDArray[np.float64], rate: int = 16_000
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Controls (T, 9) in the order of CONTROLS and viseme weights (T, 15), at the frames' times.

    Parameters
    ----------
    events : phones of the whole sound, in order, seconds.
    pcm : the sound (S,), normalised by `voice.normalise`.
    frame_times : (T,) seconds.
    """
    end = float(frame_times[-1]) + 0.2 if len(frame_times) else 0.2
    steps = int(end * FINE_RATE) + 2
    times = np.arange(steps) / FINE_RATE
    weights = np.zeros((steps, len(VISEMES)))
    held = {"PP": np.zeros(steps), "FF": np.zeros(steps)}
    for event in events:
        low = max(0, int((event.start_s - RISE_S) * FINE_RATE))
        high = min(steps, int((event.end_s + FALL_S) * FINE_RATE) + 2)
        span = times[low:high]
        if not len(span):
            continue
        firm = _FIRMNESS.get(event.viseme, 0.8) * (1.15 if event.stressed and event.viseme in VOWELS else 1.0)
        k = VISEMES.index(event.viseme)
        pull = firm * _hold(span, event.start_s + 0.015, event.end_s - 0.015, RISE_S, FALL_S)
        weights[low:high, k] = np.maximum(weights[low:high, k], pull)
        if event.viseme in held:
            start, stop = closure_of(event)
            curve = held[event.viseme]
            curve[low:high] = np.maximum(curve[low:high], _hold(span, start, stop, CLOSURE_EDGE_S, RELEASE_S))
    weights[:, 0] += 1e-3  # where nobody says anything the mouth rests
    weights /= weights.sum(1, keepdims=True)
    shapes = np.array([SHAPES[v] for v in VISEMES])
    controls = weights @ shapes
    loud = np.clip(0.62 + 0.45 * _loudness(pcm, rate, times) / LOUD_RMS, 0.6, 1.2)
    controls[:, CONTROLS.index("jaw")] *= loud
    width = round(SMOOTH_S * FINE_RATE)
    kernel = np.hanning(2 * width + 3)[1:-1]
    kernel /= kernel.sum()
    controls = np.stack([np.convolve(np.pad(c, width, mode="edge"), kernel, "valid") for c in controls.T], axis=1)
    press, roll = CONTROLS.index("press"), CONTROLS.index("roll")
    controls[:, press] = np.maximum(held["PP"], np.where(held["PP"] > 0, controls[:, press], 0.6 * controls[:, press]))
    controls[:, roll] = np.maximum(held["FF"], 0.8 * controls[:, roll])
    controls[:, CONTROLS.index("upper")] = np.maximum(controls[:, CONTROLS.index("upper")], 0.7 * held["FF"])
    at = [np.interp(frame_times, times, c) for c in np.concatenate([controls, weights], axis=1).T]
    sampled = np.stack(at, axis=1)
    return sampled[:, : len(CONTROLS)], sampled[:, len(CONTROLS) :]
