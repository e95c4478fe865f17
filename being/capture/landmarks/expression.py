"""What brows and cheeks do, from the mesh: action units (FACS) 1, 2, 4 and 6 as OpenFace numbers them, 0 to 5.

The head's own movement is taken out by laying the face's stiff points over each other. What is left of the brows' and
cheeks' height is told against the person's own rest. The lips are not looked at: what they do is the sound's to say.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from being.capture.landmarks.head_shape import OUTER_EYES_DM, own_shape

# Of the points of the head itself those that a smile does not move.
STIFF = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 10, 151, 9, 8, 127, 356, 234, 454, 93, 323)
EYES_INNER = (133, 362)
BROWS_OUTER, BROWS_INNER = (105, 334), (107, 336)
CHEEKS = (50, 280, 117, 346, 101, 330, 205, 425, 36, 266)
# Of the eyes' distance: from rest to the farthest a face goes, which is intensity 5.
BROW_RANGE, FROWN_RANGE, CHEEK_RANGE = 0.10, 0.05, 0.05
MOST = 5.0  # intensity
REST_PERCENTILE = 10  # of a clip's brows and cheeks: what rest is for this person; a frown starts from the middle
SMOOTH = 1.0  # frames, deviation: expressions are slower than speech, and the mesh trembles

Points = NDArray[np.float64]


def action_units(points: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Mesh points (T, 478, 3) -> intensities (T,) in [0, 5] by OpenFace's column name.

    AU01 inner brow raised, AU02 outer brow raised, AU04 brow lowered, AU06 cheeks raised (a smile that reaches the
    eyes).
    """
    face = _at_rest(points.astype(np.float64))
    inner = _height(face, BROWS_INNER) - _height(face, EYES_INNER)
    outer = _height(face, BROWS_OUTER) - _height(face, EYES_INNER)
    # Raised cheeks go up and, as the mesh's depth has it, back.
    cheeks = _height(face, CHEEKS) - face[:, CHEEKS, 2].mean(1)
    middle = float(np.median(inner))
    found = {
        "AU01_r": (inner - np.percentile(inner, REST_PERCENTILE)) / BROW_RANGE,
        "AU02_r": (outer - np.percentile(outer, REST_PERCENTILE)) / BROW_RANGE,
        "AU04_r": (middle - inner) / FROWN_RANGE,
        "AU06_r": (cheeks - np.percentile(cheeks, REST_PERCENTILE)) / CHEEK_RANGE,
    }
    smooth = {name: gaussian_filter1d(value, SMOOTH, mode="nearest") for name, value in found.items()}
    return {name: np.clip(MOST * value, 0, MOST).astype(np.float32) for name, value in smooth.items()}


def _height(face: Points, chosen: tuple[int, ...]) -> NDArray[np.float64]:
    """How far up the points lie on average, (T,)."""
    return face[:, chosen, 1].mean(1)


def _at_rest(points: Points) -> Points:
    """Points (T, P, 3) of the head at rest: x to the image's right, y up, z to the viewer; unit: the eyes' distance."""
    laid = own_shape(points, STIFF)
    turned = np.einsum("tpi,tij->tpj", points - laid.offsets[:, None], laid.rotations)
    return turned / (OUTER_EYES_DM * laid.scales[:, None, None])
