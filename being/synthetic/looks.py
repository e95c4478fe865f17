"""How synthetic people differ: a look is numbers, which the kernels draw.

The first person's are the defaults. Factors and shifts are against that person's shape, colours are linear RGB.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from being.errors import InputError

Rgb = tuple[float, float, float]

# Where the kernels find each field in `Look.parameters`, which lists them in this order.
FACE_WIDTH, JAW_WIDTH, CHIN_DROP, NOSE_WIDTH, BROW_WIDTH, CHEEKS, AURICLES = 0, 1, 2, 3, 4, 5, 6
HAIR_SHORT, HAIR_PARTING, HAIR_LINE, HAIR_SWEEP, BEARD, GLASSES, NECKLINE, STRIPES = 7, 8, 9, 10, 11, 12, 13, 14
SKIN, BROWS, IRIS_INNER, IRIS_OUTER, HAIR_DARK, HAIR_LIGHT, HAIR_SHEEN = 15, 18, 21, 24, 27, 30, 33
CLOTH, CLOTH_STRIPE, FRAME, WALL, WALL_GLOW = 36, 39, 42, 45, 48
PARAMETERS = 51


@dataclass(frozen=True)
class Look:
    """One person's looks. All its fields are numbers of one drawing, which the kernels read as one array."""

    face_width: float = 1.0  # of the face below the cheekbones
    jaw_width: float = 1.0
    chin_drop: float = 0.0  # dm
    nose_width: float = 1.0
    brow_width: float = 1.0
    cheeks: float = 1.0
    auricles: float = 0.0  # 1: seen; the hair covers them otherwise
    hair_short: float = 0.0  # 1: cropped; a bob otherwise
    hair_parting: float = -0.26  # x, dm
    hair_line: float = 0.755  # y of the hairline at the parting, dm
    hair_sweep: float = 1.0  # how fast the hairline falls to the temples
    beard: float = 0.0  # thickness, dm
    glasses: float = 0.0  # 1: worn
    neckline: float = 0.0  # how much lower the collar lies, dm
    stripes: float = 40.0  # of the cloth, radians a dm
    skin: Rgb = (1.0, 1.0, 1.0)  # factors: whatever is painted on it keeps its relation to it
    brows: Rgb = (0.085, 0.034, 0.021)  # and the beard
    iris_inner: Rgb = (0.20, 0.115, 0.035)
    iris_outer: Rgb = (0.055, 0.085, 0.055)
    hair_dark: Rgb = (0.080, 0.025, 0.015)
    hair_light: Rgb = (0.185, 0.066, 0.034)
    hair_sheen: Rgb = (0.85, 0.42, 0.24)
    cloth: Rgb = (0.030, 0.165, 0.175)
    cloth_stripe: Rgb = (0.030, 0.165, 0.175)
    frame: Rgb = (0.02, 0.02, 0.02)  # of the glasses
    wall: Rgb = (0.115, 0.165, 0.225)  # the studio's, in its corners
    wall_glow: Rgb = (0.41, 0.43, 0.43)  # what the lamp behind the shoulder adds
    # Not the kernels' but the rig's:
    mouth_width: float = 1.0
    lips: float = 1.0  # heights of their red
    lids: float = 1.0  # how wide the eyes stand open

    def parameters(self) -> NDArray[np.float64]:
        """(PARAMETERS,) what the kernels read."""
        return np.hstack(astuple(self))[:PARAMETERS]


FIRST = "anna"
LOOKS = {
    FIRST: Look(),
    "bruno": Look(
        face_width=1.06, jaw_width=1.16, chin_drop=0.03, nose_width=1.22, brow_width=1.5, cheeks=0.92, auricles=1.0,
        hair_short=1.0, beard=0.028, glasses=1.0, neckline=0.10, stripes=34.0,
        skin=(0.93, 0.88, 0.86), brows=(0.090, 0.080, 0.072),
        iris_inner=(0.10, 0.15, 0.20), iris_outer=(0.05, 0.09, 0.15),
        hair_dark=(0.12, 0.115, 0.11), hair_light=(0.34, 0.335, 0.33), hair_sheen=(0.50, 0.50, 0.50),
        cloth=(0.50, 0.50, 0.47), cloth_stripe=(0.055, 0.085, 0.22), frame=(0.025, 0.018, 0.015),
        wall=(0.20, 0.14, 0.095), wall_glow=(0.42, 0.35, 0.27), mouth_width=1.06, lips=0.80, lids=0.88,
    ),
    "mei": Look(
        face_width=0.97, jaw_width=0.88, chin_drop=-0.03, nose_width=1.08, brow_width=0.8, cheeks=1.06,
        hair_parting=0.0, hair_line=0.50, hair_sweep=0.12, neckline=0.20, stripes=9.0,
        skin=(0.97, 0.97, 0.88), brows=(0.028, 0.018, 0.014),
        iris_inner=(0.070, 0.034, 0.016), iris_outer=(0.030, 0.016, 0.010),
        hair_dark=(0.012, 0.010, 0.010), hair_light=(0.045, 0.036, 0.034), hair_sheen=(0.42, 0.40, 0.42),
        cloth=(0.36, 0.045, 0.060), cloth_stripe=(0.42, 0.060, 0.070),
        wall=(0.13, 0.19, 0.13), wall_glow=(0.38, 0.44, 0.34), mouth_width=0.92, lips=1.12, lids=0.86,
    ),
}  # fmt: skip


def look_named(name: str) -> Look:
    """The look of that name. Raises InputError for one that does not exist."""
    if name not in LOOKS:
        raise InputError(f"there is no look {name!r}", f"Choose one of {', '.join(LOOKS)}")
    return LOOKS[name]
