"""What moves the character: a `FaceState` (named controls) and the flat parameter vector the kernels read.

Lengths are in decimetres of head space (x to the image right, y up, z to the viewer); controls run from 0 (rest) to 1
(full) unless stated otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from being.dataset.pose import FLIP  # OpenCV axes <-> the kernels' y-up, z-to-viewer axes
from being.synthetic import looks
from being.synthetic.looks import FIRST, LOOKS, Look

# Slots of the parameter vector. Poses: row-major rotation (9) then translation (3), kernel axes.
HEAD, TORSO = 0, 12
JAW_SIN, JAW_COS = 24, 25  # the jaw's rotation about its hinge
LIP_HALF_WIDTH, LIP_Y, LIP_Z = 26, 27, 28  # half width of the mouth, height of the closed line, front of the lips
LIP_RAISE, LIP_DROP = 29, 30  # the inner edges above and below the line, at the centre
LIP_UPPER, LIP_LOWER = 31, 32  # heights of the red of both lips
LIP_CORNER = 33  # how far the corners stand above the centre
LIP_ROLL = 34  # how far the lower lip is drawn back
LIP_OVAL = 35  # small: an oval opening, large: a lens with pointed corners
LIP_CURVE = 36  # how fast the lips fall back from the centre, per dm
TEETH_UPPER, TEETH_LOWER = 37, 38  # heights of the edges of the two rows
TONGUE_Y, TONGUE_Z, TONGUE_TIP = 39, 40, 41
SMILE = 42
JAW_DROP = 43
BROW_LEFT, BROW_RIGHT = 44, 45  # raise in dm; left and right of the image
LID_UPPER_LEFT, LID_UPPER_RIGHT = 46, 47  # height of the upper lid's edge in eyeball radii
LID_LOWER_LEFT, LID_LOWER_RIGHT = 48, 49
GAZE_LEFT, GAZE_RIGHT = 50, 53  # unit vectors in head space
LIP_SINK = 56  # how far the lips sink into the cheeks at the corners
NECK_ENDS = 57  # both ends of the neck's rod, kernel axes: the upper rides on the head, the lower on the torso
LIGHTS = 63  # what turns the room's axes into the camera's, row-major rotation (9), kernel axes
LOOK = 72  # the person's looks, see `looks`
PARAMETERS = LOOK + looks.PARAMETERS

MOUTH_Y, MOUTH_Z = -0.550, 0.815
MOUTH_HALF_WIDTH = 0.270
JAW_TRAVEL = 0.25  # how far the lower lip falls with the jaw fully open
NECK_TOP, NECK_BASE = (0.0, -0.55, -0.20), (0.0, -1.75, -0.38)
JAW_HINGE = (-0.20, -0.05)  # y, z
LID_UPPER_OPEN, LID_LOWER_OPEN = 0.495, 0.40  # eyeball radii


REST_DISTANCE = 6.6
REST_HEIGHT = 0.24  # the head's centre stands this far above the optical axis


def rest_pose() -> NDArray[np.float64]:
    """The pose (3, 4) of an upright head or torso facing the camera."""
    return np.hstack([FLIP, np.array([[0.0], [-REST_HEIGHT], [REST_DISTANCE]])])


@dataclass
class FaceState:
    """One frame of the character. Poses are (3, 4) [R|t], head space to OpenCV camera, decimetres.

    Fields: one for each control of the rig. lights : rotation (3, 3) from where the lights stand to the camera.
    look : whose face it is.
    """

    jaw: float = 0.0
    spread: float = 0.0  # -1 narrow .. 1 wide
    round: float = 0.0
    upper: float = 0.0  # the upper lip raised off the teeth
    lower: float = 0.0  # the lower lip drawn down
    roll: float = 0.0  # the lower lip under the upper teeth (f, v)
    press: float = 0.0  # the lips closed against each other whatever the jaw does
    tongue_up: float = 0.0
    tongue_out: float = 0.0
    smile: float = 0.0
    brow_left: float = 0.0
    brow_right: float = 0.0
    blink_left: float = 0.0
    blink_right: float = 0.0
    gaze_x: float = 0.0  # radians, positive to the image right
    gaze_y: float = 0.0  # radians, positive up
    head: NDArray[np.float64] = field(default_factory=rest_pose)
    torso: NDArray[np.float64] = field(default_factory=rest_pose)
    lights: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    look: Look = LOOKS[FIRST]


def lip_gap(state: FaceState) -> tuple[float, float]:
    """How far the inner lip edges stand above and below the closed line at the centre, dm; both 0 when closed."""
    open_ = 1.0 - min(1.0, max(0.0, state.press))
    raised = (0.035 * state.jaw + 0.055 * state.upper + 0.02 * state.round * state.jaw) * open_
    dropped = (JAW_TRAVEL * state.jaw + 0.06 * state.lower) * (1.0 - 0.75 * state.roll) * open_
    return max(0.0, raised), max(0.0, dropped)


def parameters(state: FaceState) -> NDArray[np.float64]:
    """The kernels' parameter vector (PARAMETERS,) of a state."""
    p, person = np.zeros(PARAMETERS), state.look
    p[LOOK:] = person.parameters()
    for slot, pose in ((HEAD, state.head), (TORSO, state.torso)):
        p[slot : slot + 9] = (FLIP @ pose[:, :3]).ravel()
        p[slot + 9 : slot + 12] = FLIP @ pose[:, 3]
    p[LIGHTS : LIGHTS + 9] = (FLIP @ state.lights @ FLIP).ravel()
    p[NECK_ENDS : NECK_ENDS + 3] = FLIP @ (state.head @ (*NECK_TOP, 1.0))
    p[NECK_ENDS + 3 : NECK_ENDS + 6] = FLIP @ (state.torso @ (*NECK_BASE, 1.0))
    raised, dropped = lip_gap(state)
    angle = JAW_TRAVEL * state.jaw * 0.92
    p[JAW_SIN], p[JAW_COS] = np.sin(angle), np.cos(angle)
    p[JAW_DROP] = JAW_TRAVEL * state.jaw
    rounding = state.round
    wide = 1.0 + 0.15 * state.spread + 0.15 * state.smile - 0.40 * rounding - 0.05 * state.jaw
    p[LIP_HALF_WIDTH] = MOUTH_HALF_WIDTH * person.mouth_width * wide
    closed_drop = JAW_TRAVEL * state.jaw - dropped  # lips closed over an open jaw meet a little lower
    p[LIP_Y] = MOUTH_Y - 0.35 * max(0.0, closed_drop) * (1 - 0.8 * state.roll)
    p[LIP_Z] = MOUTH_Z + 0.10 * rounding - 0.01 * state.spread - 0.012 * state.press - 0.02 * state.jaw
    p[LIP_RAISE], p[LIP_DROP] = raised, dropped
    thin = 1.0 - 0.28 * state.press - 0.12 * max(0.0, state.spread)
    p[LIP_UPPER] = (0.085 + 0.015 * rounding - 0.012 * state.upper) * thin * person.lips
    p[LIP_LOWER] = (0.105 + 0.020 * rounding - 0.045 * state.roll) * thin * person.lips
    p[LIP_CORNER] = 0.026 + 0.085 * state.smile - 0.03 * state.jaw
    p[LIP_ROLL] = 0.05 * state.roll
    p[LIP_OVAL] = 0.30 - 0.27 * rounding
    p[LIP_CURVE] = 1.15
    p[LIP_SINK] = 0.085 + 0.075 * rounding
    p[TEETH_UPPER] = MOUTH_Y - 0.030 + 0.012 * state.upper + 0.04 * rounding
    p[TEETH_LOWER] = MOUTH_Y - 0.045 - JAW_TRAVEL * state.jaw * 0.93
    p[TONGUE_Y] = p[TEETH_LOWER] - 0.07 + state.tongue_up * (0.05 + 0.6 * JAW_TRAVEL * state.jaw)
    p[TONGUE_Z] = MOUTH_Z - 0.38 + 0.15 * state.tongue_out
    p[TONGUE_TIP] = 0.08 * state.tongue_up + 0.035 * state.tongue_out
    p[SMILE] = state.smile
    p[BROW_LEFT], p[BROW_RIGHT] = 0.10 * state.brow_left, 0.10 * state.brow_right
    gaze = np.array([np.sin(state.gaze_x) * np.cos(state.gaze_y), np.sin(state.gaze_y), 0.0])
    gaze[2] = np.sqrt(1.0 - gaze[0] ** 2 - gaze[1] ** 2)
    for upper, lower, blink, slot, converge in (
        (LID_UPPER_LEFT, LID_LOWER_LEFT, state.blink_left, GAZE_LEFT, 0.035),
        (LID_UPPER_RIGHT, LID_LOWER_RIGHT, state.blink_right, GAZE_RIGHT, -0.035),
    ):
        opened_low = LID_LOWER_OPEN * (1 - 0.12 * state.smile)
        opened_high = LID_UPPER_OPEN * person.lids + 0.22 * state.gaze_y + 0.05 * max(state.brow_left, state.brow_right)
        p[lower] = -opened_low * (1 - 0.12 * blink)
        p[upper] = opened_high * (1 - blink) + (p[lower] - 0.08) * blink
        look = gaze + np.array([converge, 0.0, 0.0])
        p[slot : slot + 3] = look / np.linalg.norm(look)
    return p
