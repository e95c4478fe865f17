"""How far the eyes are shut, from the mesh: the eyes' aspect ratio in 3D against the person's own open eyes.

Heights and widths are taken in three dimensions, so that turning the head, which foreshortens them, changes little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import grey_closing

RIGHT_EYE = ((33, 133), ((160, 144), (159, 145), (158, 153)))  # corners, (upper, lower) lid pairs: the image's left
LEFT_EYE = ((362, 263), ((385, 380), (386, 374), (387, 373)))
OPEN_PERCENTILE = 85  # of a clip's ratios: what "open" is for this person and this eye
SLACK = 0.08  # of the open ratio: lids that sink this little are not closing
DIP = 5  # frames: a shorter opening within a blink is the mesh's mistake about lids that touch
SHUT, LEAST_SHUT = 0.32, 0.18  # of the open ratio: where a shut eye lies, unless the clip shows lower; never lower


def eye_closure(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mesh points (T, 478, 3) -> closure (T,) of both eyes together: 0 open .. 1 shut."""
    ratios = np.stack([_aspect_ratio(points, *eye) for eye in (RIGHT_EYE, LEFT_EYE)], axis=1)
    opened = np.percentile(ratios, OPEN_PERCENTILE, axis=0)
    shut = np.clip(np.percentile(ratios, 1, axis=0), LEAST_SHUT * opened, SHUT * opened)
    top = (1 - SLACK) * opened
    closure = np.clip((top - ratios) / np.maximum(top - shut, 1e-9), 0, 1).mean(axis=1)
    return grey_closing(closure, DIP, mode="nearest").astype(np.float32)


def _aspect_ratio(
    points: NDArray[np.float32], corners: tuple[int, int], lids: tuple[tuple[int, int], ...]
) -> NDArray[np.float64]:
    """Mean height between the lids over the width between the corners, (T,)."""

    def apart(pair: tuple[int, int]) -> NDArray[np.float64]:
        return np.linalg.norm(points[:, pair[0]].astype(np.float64) - points[:, pair[1]], axis=1)

    return np.mean([apart(pair) for pair in lids], axis=0) / np.maximum(apart(corners), 1e-9)
