"""JPEG: single pictures for previews and for clients that take frames one by one."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

QUALITY = 85


def encode_jpeg(picture: np.ndarray, quality: int = QUALITY) -> bytes:
    """A picture as JPEG bytes.

    Parameters
    ----------
    picture : (H, W, 3) or (H, W, 4) uint8
        RGB; alpha is left out, for JPEG has none.
    quality : int
        1 (worst) to 95.
    """
    if picture.ndim != 3 or picture.shape[2] not in (3, 4) or picture.dtype != np.uint8:
        raise ValueError(f"picture {picture.shape} {picture.dtype} is not RGB or RGBA")
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture[..., :3])).save(out, "JPEG", quality=quality)
    return out.getvalue()
