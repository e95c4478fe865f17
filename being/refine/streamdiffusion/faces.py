"""Where avatars' faces lie, for noise that sticks to them."""

from __future__ import annotations

import numpy as np

from being.avatar.folder import Avatar
from being.avatar.library import Library
from being.refine.streamdiffusion.avatar_cache import AvatarCache
from being.refine.streamdiffusion.noise import FacePlane

FACE_GATE = 0.5  # Gaussians that listen more than this are the face


class FacePlanes(AvatarCache[FacePlane]):
    """Face planes by avatar; FormatError where one cannot be loaded."""

    def __init__(self, library: Library) -> None:
        super().__init__(library, lambda entry: face_plane(library.load(entry.id)))


def face_plane(avatar: Avatar) -> FacePlane:
    """Through the middle of what the sound moves, else of all that moves with the head."""
    gaussians, manifest = avatar.gaussians, avatar.manifest
    xyz = gaussians.xyz.detach().cpu().numpy()
    gate, head = (part.detach().cpu().numpy().reshape(-1) for part in (gaussians.audio_gate, gaussians.head_weight))
    face = xyz[gate > FACE_GATE]
    if not len(face):
        face = xyz[head > FACE_GATE] if (head > FACE_GATE).any() else xyz
    middle = np.median(face, axis=0).astype(np.float64)
    poses = np.asarray(avatar.motion.head_pose, np.float64)
    distances = poses[:, 2, :3] @ middle + poses[:, 2, 3]
    return FacePlane(
        z=float(middle[2]),
        distance=max(float(np.median(distances)), 1.0),
        intrinsics=manifest.intrinsics,
        recorded=(manifest.width, manifest.height),
    )
