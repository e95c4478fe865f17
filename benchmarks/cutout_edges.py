"""The edge of a person cut out, over three screens, against the true one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SCREENS = {"white": (255, 255, 255), "black": (0, 0, 0), "green": (0, 177, 64)}
BAND = 0.016  # of the picture's side, to either side of the silhouette


def over(layer: NDArray[np.float32], colour: tuple[int, int, int]) -> NDArray[np.float32]:
    """Premultiplied colour and alpha (H, W, 4) before one colour, (H, W, 3)."""
    return layer[..., :3] + (1 - layer[..., 3:] / 255) * np.array(colour, np.float32)


def halo(known: Sequence[NDArray[np.float32]], told: Sequence[NDArray[np.float32]]) -> dict[str, list[float]]:
    """By screen: mean absolute and mean signed difference in the band around the true silhouette, 0 to 255."""
    from scipy.ndimage import binary_dilation, binary_erosion

    out: dict[str, list[float]] = {}
    for name, colour in SCREENS.items():
        differences = []
        for right, ours in zip(known, told, strict=True):
            inside = right[..., 3] > 127
            reach = max(1, round(BAND * inside.shape[0]))
            band = binary_dilation(inside, iterations=reach) & ~binary_erosion(inside, iterations=reach, border_value=1)
            differences.append((over(ours, colour) - over(right, colour))[band].ravel())
        every = np.concatenate(differences)
        out[name] = [round(float(np.abs(every).mean()), 2), round(float(every.mean()), 2)]
    return out
