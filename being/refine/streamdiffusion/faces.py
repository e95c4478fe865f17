"""Where avatars' faces lie, for noise that sticks to them; read from the library once per version of an avatar."""

from __future__ import annotations

import numpy as np

from being.avatar.folder import Avatar
from being.avatar.library import Library, LibraryEntry
from being.refine.streamdiffusion.noise import FacePlane

FACE_GATE = 0.5  # Gaussians that listen more than this are the face


class FacePlanes:
    """Face planes by avatar."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._known: dict[str, tuple[LibraryEntry, FacePlane]] = {}

    def load(self, avatar: str) -> FacePlane:
        """The plane of the avatar as it lies on the disk now. InputError or FormatError where it cannot be loaded."""
        entry = self._library.get(avatar)
        known = self._known.get(avatar)
        if known is None or known[0] is not entry:
            known = entry, face_plane(self._library.load(avatar))
            self._known[avatar] = known
        return known[1]

    def forget(self, avatar: str) -> None:
        """Drop an avatar's."""
        self._known.pop(avatar, None)

    def of(self, avatar: str) -> FacePlane:
        """The plane that was loaded last; loaded now where none was."""
        known = self._known.get(avatar)
        return known[1] if known is not None else self.load(avatar)


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
