"""HDR and wide-gamut colours as a standard display shows them: BT.709 primaries, gamma 2.4, white at 203 cd/m2.

Light is followed in cd/m2 as displayed: decoded by the standard's curve (ITU-R BT.2100: PQ, or HLG with its
opto-optical transfer function for a display of 1000 cd/m2), brought from 1000 to 203 cd/m2 (HDR reference white, ITU-R
BT.2408) by the curve of ITU-R BT.2390 section 5.4.1, turned to BT.709 primaries (ITU-R BT.2087), kept inside that gamut
at its luminance, and encoded by the inverse of ITU-R BT.1886.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PEAK = 1000.0  # cd/m2 that HDR film is graded for; brighter is clipped
WHITE = 203.0  # cd/m2 of diffuse white in HDR film, and of full white afterwards
GAMMA = 2.4  # of a standard display, BT.1886

_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128  # BT.2100 table 4
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073  # BT.2100 table 5
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])
_LUMA_709 = np.array([0.2126, 0.7152, 0.0722])


class Coding(StrEnum):
    """How a film's R'G'B' numbers mean light, where they do not mean BT.709."""

    PQ = "PQ"  # BT.2100, perceptual quantizer, BT.2020 primaries
    HLG = "HLG"  # BT.2100, hybrid log-gamma, BT.2020 primaries
    WIDE = "BT.2020"  # standard dynamic range, BT.2020 primaries
    P3 = "Display P3"  # standard dynamic range, P3 primaries with D65 white


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> Array:
    """RGB -> XYZ of primaries (x, y), D65 white."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])
    scales: Array = np.linalg.solve(columns, white)
    return np.asarray(columns * scales)


_XYZ_709 = _to_xyz(((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)))
_XYZ_2020 = _to_xyz(((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)))
_XYZ_P3 = _to_xyz(((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)))


def pq_to_light(code: Array) -> Array:
    """PQ numbers in [0, 1] -> cd/m2."""
    root = np.clip(code, 0, 1) ** (1 / _M2)
    return 10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)


def light_to_pq(light: Array) -> Array:
    """cd/m2 -> PQ numbers in [0, 1]."""
    power = np.clip(light / 10_000, 0, 1) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def hlg_to_light(code: Array) -> Array:
    """HLG numbers (..., 3) in [0, 1] -> cd/m2 on a display of PEAK; its system gamma is 1.2."""
    code = np.clip(code, 0, 1)
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - _C) / _A) + _B) / 12)
    luminance = (scene * _LUMA_2020).sum(-1, keepdims=True)
    return PEAK * np.maximum(luminance, 1e-12) ** 0.2 * scene


def compress(light: Array) -> Array:
    """Luminance up to PEAK -> up to WHITE, cd/m2: dark and middle as they are, a soft knee above (BT.2390)."""
    top = light_to_pq(np.array(PEAK))
    relative = np.clip(light_to_pq(light) / top, 0, 1)
    most = light_to_pq(np.array(WHITE)) / top
    knee = 1.5 * most - 0.5
    t = np.clip((relative - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return pq_to_light(np.where(relative < knee, relative, spline) * top)


def to_bt709(code: Array, coding: Coding) -> Array:
    """R'G'B' (..., 3) in [0, 1] as coded -> BT.709 R'G'B' (..., 3) in [0, 1]."""
    code = np.asarray(code, np.float64)
    if coding in (Coding.PQ, Coding.HLG):
        light = pq_to_light(code) if coding is Coding.PQ else hlg_to_light(code)
        luminance = (light * _LUMA_2020).sum(-1, keepdims=True)
        linear = light * compress(luminance) / np.maximum(luminance, 1e-9) / WHITE
    else:
        linear = np.clip(code, 0, 1) ** GAMMA
    source = _XYZ_P3 if coding is Coding.P3 else _XYZ_2020
    return np.asarray(_inside(linear @ np.linalg.solve(_XYZ_709, source).T) ** (1 / GAMMA))


def _inside(linear: Array) -> Array:
    """Linear BT.709 (..., 3), colours outside its gamut moved towards the grey of their luminance."""
    grey = np.clip((linear * _LUMA_709).sum(-1, keepdims=True), 0, 1)
    away = linear - grey
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(away > 0, (1 - grey) / away, np.where(away < 0, -grey / away, np.inf))
    return np.clip(grey + away * np.minimum(room.min(-1, keepdims=True), 1), 0, 1)
