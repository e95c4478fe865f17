"""A small formant voice: speech-like sound with known phones, where espeak-ng is not installed.

Letters become phones by a few spelling rules; each phone aims at three formants, with voice from a glottal pulse train
and noise for fricatives and bursts, through resonators in cascade (after Klatt 1980, much reduced).
"""

# ruff: noqa: RUF001 -- IPA letters are meant, not the Latin ones they resemble
from __future__ import annotations

from dataclasses import dataclass
from math import cos, exp, pi

import numpy as np
from numba import njit

from being.audio.espeak import PhoneEvent, Speech
from being.audio.visemes import viseme_of_ipa
from being.constants import SAMPLE_RATE


@dataclass(frozen=True)
class Phone:
    """What a phone aims at: formants in Hz, amplitude of voice and noise, the noise's centre in Hz, duration."""

    f1: float
    f2: float
    f3: float
    voice: float
    noise: float
    colour: float
    seconds: float


# fmt: off
PHONES: dict[str, Phone] = {
    "": Phone(450, 1400, 2500, 0.0, 0.0, 1500, 0.18),
    "a": Phone(760, 1250, 2500, 1.0, 0.0, 1500, 0.13), "ɛ": Phone(550, 1800, 2550, 0.9, 0.0, 1500, 0.11),
    "ɪ": Phone(400, 2000, 2600, 0.85, 0.0, 1500, 0.09), "i": Phone(290, 2250, 3000, 0.85, 0.0, 1500, 0.12),
    "ɔ": Phone(570, 880, 2450, 0.95, 0.0, 1500, 0.12), "u": Phone(320, 900, 2300, 0.8, 0.0, 1500, 0.12),
    "ʌ": Phone(640, 1200, 2450, 0.9, 0.0, 1500, 0.09), "ə": Phone(500, 1450, 2500, 0.7, 0.0, 1500, 0.06),
    "p": Phone(250, 800, 2200, 0.0, 0.5, 900, 0.10), "b": Phone(220, 800, 2200, 0.25, 0.2, 900, 0.09),
    "m": Phone(260, 1000, 2200, 0.55, 0.0, 900, 0.09), "f": Phone(300, 1100, 2300, 0.0, 0.25, 3800, 0.10),
    "v": Phone(280, 1100, 2300, 0.45, 0.12, 3800, 0.08), "θ": Phone(300, 1400, 2500, 0.0, 0.2, 4600, 0.10),
    "t": Phone(280, 1800, 2700, 0.0, 0.6, 4200, 0.09), "d": Phone(240, 1750, 2700, 0.25, 0.25, 4000, 0.08),
    "s": Phone(300, 1700, 2600, 0.0, 0.5, 5600, 0.11), "z": Phone(270, 1700, 2600, 0.4, 0.3, 5400, 0.09),
    "ʃ": Phone(300, 1800, 2500, 0.0, 0.5, 3000, 0.11), "tʃ": Phone(300, 1800, 2500, 0.0, 0.6, 3200, 0.12),
    "dʒ": Phone(260, 1800, 2500, 0.3, 0.4, 3000, 0.11), "k": Phone(280, 1500, 2300, 0.0, 0.5, 1900, 0.10),
    "ɡ": Phone(240, 1500, 2300, 0.25, 0.25, 1800, 0.09), "n": Phone(270, 1600, 2500, 0.55, 0.0, 1500, 0.08),
    "ŋ": Phone(270, 1300, 2300, 0.5, 0.0, 1500, 0.08), "l": Phone(350, 1150, 2700, 0.6, 0.0, 1500, 0.07),
    "ɹ": Phone(380, 1250, 1650, 0.6, 0.0, 1500, 0.08), "w": Phone(310, 720, 2200, 0.6, 0.0, 1500, 0.07),
    "j": Phone(280, 2200, 2900, 0.6, 0.0, 1500, 0.06), "h": Phone(500, 1500, 2500, 0.0, 0.25, 1500, 0.06),
}
# fmt: on

# Spellings, longest first at each place of a word.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "tion": ("ʃ", "ə", "n"), "ough": ("ɔ",), "igh": ("a", "ɪ"), "tch": ("tʃ",), "ght": ("t",),
    "th": ("θ",), "sh": ("ʃ",), "ch": ("tʃ",), "ph": ("f",), "ng": ("ŋ",), "ck": ("k",), "qu": ("k", "w"), "wh": ("w",),
    "ee": ("i",), "ea": ("i",), "oo": ("u",), "ou": ("a", "u"), "ow": ("ɔ", "u"), "oa": ("ɔ", "u"), "ai": ("ɛ", "ɪ"),
    "ay": ("ɛ", "ɪ"), "oy": ("ɔ", "ɪ"), "oi": ("ɔ", "ɪ"), "ew": ("u",), "er": ("ə", "ɹ"), "ar": ("a", "ɹ"),
    "a": ("a",), "e": ("ɛ",), "i": ("ɪ",), "o": ("ɔ",), "u": ("ʌ",), "y": ("i",), "b": ("b",), "c": ("k",), "d": ("d",),
    "f": ("f",), "g": ("ɡ",), "h": ("h",), "j": ("dʒ",), "k": ("k",), "l": ("l",), "m": ("m",), "n": ("n",),
    "p": ("p",), "r": ("ɹ",), "s": ("s",), "t": ("t",), "v": ("v",), "w": ("w",), "x": ("k", "s"), "z": ("z",),
}  # fmt: skip

_CONTROL_STEP = 80  # samples between updates of the resonators: 5 ms


def phones_of_text(text: str) -> list[tuple[str, bool]]:
    """Phones ("" is a pause) of a text and whether each is a stressed vowel (the first of its word)."""
    phones: list[tuple[str, bool]] = []
    for word in text.lower().split():
        letters = "".join(c for c in word if c.isalpha())
        at, stressed = 0, False
        silent_e = len(letters) > 2 and letters.endswith("e") and letters[-2] not in "aeiou"
        while at < len(letters) - (1 if silent_e else 0):
            for size in (4, 3, 2, 1):
                found = _SPELLINGS.get(letters[at : at + size]) if at + size <= len(letters) else None
                if found:
                    break
            else:
                found, size = (), 1
            for ipa in found:
                vowel = PHONES[ipa].voice > 0.65
                if phones and phones[-1][0] == ipa:
                    continue
                phones.append((ipa, vowel and not stressed))
                stressed = stressed or vowel
            at += size
        if word[-1] in ".,;:!?":
            phones.append(("", False))
    return phones


@njit(cache=True, nogil=True)
def _resonate(source, noise, tracks, step, rate, out):
    """Cascade of three resonators on the voice, one on the noise. tracks (n, 6): f1 f2 f3 voice noise colour."""
    y = np.zeros((4, 2))
    for i in range(len(source)):
        k = i / step
        j = min(int(k), len(tracks) - 2)
        w = k - j
        v = source[i] * (tracks[j, 3] * (1 - w) + tracks[j + 1, 3] * w)
        for r in range(4):
            column = r if r < 3 else 5
            f = tracks[j, column] * (1 - w) + tracks[j + 1, column] * w
            bandwidth = 70.0 + 30.0 * r if r < 3 else 900.0
            c = -exp(-2 * pi * bandwidth / rate)
            b = 2 * exp(-pi * bandwidth / rate) * cos(2 * pi * f / rate)
            a = 1 - b - c
            x = v if r < 3 else noise[i] * (tracks[j, 4] * (1 - w) + tracks[j + 1, 4] * w)
            value = a * x + b * y[r, 0] + c * y[r, 1]
            y[r, 1] = y[r, 0]
            y[r, 0] = value
            if r < 3:
                v = value
        out[i] = v + y[3, 0]


def speak_formants(
    text: str, pitch_hz: float = 120.0, formant_scale: float = 1.0, rate: float = 1.0, seed: int = 0
) -> Speech:
    """Speak a text. formant_scale is the inverse of the vocal tract's length, rate the speed."""
    phones = phones_of_text(text) or [("", False)]
    rng = np.random.default_rng(seed)
    events: list[PhoneEvent] = []
    at = 0.0
    rows: list[tuple[float, Phone, bool]] = []
    for ipa, stressed in phones:
        phone = PHONES[ipa]
        seconds = phone.seconds * (1.25 if stressed else 1.0) / rate * rng.uniform(0.9, 1.1)
        events.append(PhoneEvent(at, at + seconds, ipa, viseme_of_ipa(ipa), stressed))
        rows.append((at, phone, stressed))
        at += seconds
    samples = int(at * SAMPLE_RATE)
    steps = samples // _CONTROL_STEP + 2
    tracks = np.zeros((steps, 6))
    for (start, phone, stressed), event in zip(rows, events, strict=True):
        low, high = int(start * SAMPLE_RATE / _CONTROL_STEP), int(event.end_s * SAMPLE_RATE / _CONTROL_STEP) + 1
        gain = 1.0 if stressed or phone.voice < 0.65 else 0.75
        scaled = [f * formant_scale for f in (phone.f1, phone.f2, phone.f3)]
        tracks[low:high] = [*scaled, phone.voice * gain, phone.noise, phone.colour]
        if event.ipa in ("p", "t", "k", "b", "d", "ɡ", "tʃ", "dʒ"):  # silent closure, then the burst
            tracks[low : (2 * low + high) // 3 + 1, 4] = 0.0
    kernel = np.hanning(9)[1:-1]
    kernel /= kernel.sum()
    tracks = np.stack([np.convolve(np.pad(c, 3, mode="edge"), kernel, "valid") for c in tracks.T], axis=1)
    time = np.arange(samples) / SAMPLE_RATE
    melody = pitch_hz * (1.08 - 0.16 * time / max(at, 0.1) + 0.05 * np.sin(2 * np.pi * 0.9 * time))
    phase = np.cumsum(melody) / SAMPLE_RATE % 1.0
    source = np.where(phase < 0.6, np.sin(np.pi * phase / 0.6) ** 2, 0.0)  # the glottis, open 60% of a period
    source = np.diff(source, prepend=0.0) * 8.0
    out = np.zeros(samples)
    noise = rng.standard_normal(samples) * 0.6
    _resonate(source, noise, tracks, float(_CONTROL_STEP), float(SAMPLE_RATE), out)
    peak = np.abs(out).max(initial=1e-6)
    return Speech((0.7 * out / peak).astype(np.float32), events)
