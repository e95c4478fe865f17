"""What the network is told of each crop's row, as columns: where its noise lies, its timestep, its LoRA."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from being.refine.contract import CropRows
from being.refine.streamdiffusion.noise import FacePlane, deviations, texels_of_crops

MAP, SLOT, PLACE, DISTANCE, LORA, SHARE = slice(0, 10), 10, 11, 12, 13, 14
COLUMNS = 15


def columns_of(
    rows: CropRows, planes: Sequence[FacePlane], slots: Sequence[int], places: Sequence[int], size: int
) -> npt.NDArray[np.float32]:
    """(N, 15) float32: map of the noise (10, see `anchored_noise`), slot of its texture, place of the timestep in the
    table, distance of the face in decimetres; slot of the row's LoRA 0, and 1, how much of the answer counts.

    planes, slots, places : of each row. size : of the crops, pixels.
    """
    out = np.zeros((len(rows), COLUMNS), np.float32)
    texels = texels_of_crops(planes, rows.head_poses, rows.windows, rows.frame_size, size)
    out[:, MAP.start : MAP.stop - 1] = texels.reshape(len(rows), -1)
    out[:, MAP.stop - 1] = deviations(texels, size)
    out[:, SLOT] = slots
    out[:, PLACE] = places
    depths = np.array([plane.z for plane in planes])
    out[:, DISTANCE] = depths * rows.head_poses[:, 2, 2] + rows.head_poses[:, 2, 3]
    out[:, SHARE] = 1
    return out
