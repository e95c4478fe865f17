"""The inside of an open mouth, and the teeth in it, as bits of a mask.

Teeth are a few dozen pixels that come and go with every word; an average over frames turns them into a grey bar. They
are marked so that the loss can ask for them. `being capture` has looked for them with the whole clip before its eyes;
published folders have no such masks, and there pale pixels between the lips have to do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

INNER, TEETH = 4, 8  # bits; the two do not overlap
INNER_LIPS = slice(60, 68)  # of the 68 iBUG landmarks, a closed polygon
LEAST_GAP = 0.08  # of the mouth's width: a smaller gap between the lips is no open mouth
CONTRAST = 0.12  # between the dark and the light of a mouth that shows teeth, of full scale
PALE = 0.5  # largest saturation of teeth


def mouth_interior(
    image: NDArray[np.uint8], landmarks: NDArray[np.float32], teeth: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Bits (H, W) of a picture (H, W, 3) with landmarks (68, 2): INNER between the lips, TEETH on teeth, else 0.

    `teeth` (H, W) is where they are known to show; None: they are looked for here.
    """
    height, width = image.shape[:2]
    bits = np.zeros((height, width), np.uint8)
    lips = landmarks[INNER_LIPS]
    low, high = np.floor(lips.min(0)).astype(int), np.ceil(lips.max(0)).astype(int) + 1
    x0, y0 = np.maximum(low, 0)
    x1, y1 = min(int(high[0]), width), min(int(high[1]), height)
    gap = float(np.linalg.norm(lips[2] - lips[6]))
    if gap < LEAST_GAP * float(np.linalg.norm(lips[0] - lips[4])) or x1 <= x0 or y1 <= y0:
        return bits
    canvas = Image.new("1", (int(x1 - x0), int(y1 - y0)))
    ImageDraw.Draw(canvas).polygon([(float(x - x0 - 0.5), float(y - y0 - 0.5)) for x, y in lips], fill=1)
    inside = np.asarray(canvas, bool)
    if not inside.any():
        return bits
    if teeth is not None:
        bits[y0:y1, x0:x1] = np.where(inside, INNER, 0)
        bits[teeth] = TEETH
        return bits
    colours = image[y0:y1, x0:x1].astype(np.float32) / 255
    value = colours.max(-1)
    saturation = (value - colours.min(-1)) / np.maximum(value, 1e-3)
    dark, light = np.percentile(value[inside], [5, 95])
    pale = inside & (saturation < PALE) & (value > (dark + light) / 2) & (light - dark > CONTRAST)
    bits[y0:y1, x0:x1] = np.where(pale, TEETH, np.where(inside, INNER, 0))
    return bits
