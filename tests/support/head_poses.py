"""Head poses of the synthetic person by angles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from being.dataset.pose import FLIP
from being.synthetic import rig
from being.synthetic.motion import NECK_PIVOT


def pose_at(pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0) -> NDArray[np.float64]:
    """A head pose (3, 4) turned by degrees about the neck from rest; positive yaw turns to the image right."""
    turn = Rotation.from_euler("XYZ", (pitch, yaw, roll), degrees=True).as_matrix()
    pose = FLIP @ np.column_stack([turn, NECK_PIVOT - turn @ NECK_PIVOT])
    pose[:, 3] += rig.rest_pose()[:, 3]
    return np.asarray(pose)
