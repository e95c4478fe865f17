"""An avatar made ready to draw: everything that does not change from frame to frame, computed once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from being.avatar.folder import Avatar
from being.inference.compositing import Background, backdrop, cover_scale, fit_intrinsics
from being.inference.frames import Drive
from being.model.network import Conditions, camera_code
from being.raster.contract import scaled_low_pass

BACKDROPS = 16  # sizes and backgrounds kept per avatar
FACE_GATE = 0.5  # Gaussians that listen more than this are the face
FACE_SHARE = 0.02  # of them left out on each side of the face box
FACE_POINTS = 512  # enough to find it


class RenderableAvatar:
    """One avatar on one device."""

    def __init__(self, avatar: Avatar, device: torch.device) -> None:
        self.avatar = avatar
        self.device = device
        self.gaussians = avatar.gaussians.to(device)
        self.network = avatar.network.to(device)
        self._face = _face_points(avatar)
        self._backdrops: OrderedDict[tuple[Background, int, int], npt.NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def features(self) -> Tensor:
        """(N, 64) canonical features of the network, which no frame changes."""
        with torch.inference_mode():
            return self.network.canonical_features(self.gaussians.xyz).contiguous()

    def frame_size(self, drive: Drive) -> tuple[int, int]:
        """Width and height of the drive's frame; what it leaves open is as recorded."""
        manifest = self.avatar.manifest
        return drive.width or manifest.width, drive.height or manifest.height

    def intrinsics(self, width: int, height: int) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy of a frame of that size."""
        manifest = self.avatar.manifest
        return fit_intrinsics(manifest.intrinsics, (manifest.width, manifest.height), width, height)

    def low_pass(self, width: int, height: int) -> tuple[float, float]:
        """The rasterizer's filters in a frame of that size, by how much larger it is than the recorded one."""
        manifest = self.avatar.manifest
        return scaled_low_pass(cover_scale((manifest.width, manifest.height), (width, height)))

    def backdrop(self, background: Background, width: int, height: int) -> npt.NDArray[np.uint8]:
        """(height, width, 3) uint8 behind the avatar; the last few are kept. Read-only."""
        key = (background, width, height)
        with self._lock:
            if key in self._backdrops:
                self._backdrops.move_to_end(key)
                return self._backdrops[key]
        pixels = backdrop(background, self.avatar.background, width, height)
        pixels.flags.writeable = False
        with self._lock:
            self._backdrops[key] = pixels
            while len(self._backdrops) > BACKDROPS:
                self._backdrops.popitem(last=False)
        return pixels

    def tokens(self, drives: Sequence[Drive]) -> Tensor:
        """(B, T, 64) condition tokens of several frames of this avatar."""
        conditions = Conditions(
            audio=self._stack([drive.context for drive in drives]),
            eye=self._stack([np.array([drive.eye]) for drive in drives]),
            camera=camera_code(self._stack([drive.head_pose for drive in drives])),
            emotion=self._emotions(drives),
        )
        with torch.inference_mode():
            return self.network.condition_tokens(conditions)

    def poses(self, drives: Sequence[Drive]) -> tuple[Tensor, Tensor]:
        """Head and torso poses, (B, 3, 4) each."""
        return self._stack([drive.head_pose for drive in drives]), self._stack([drive.torso_pose for drive in drives])

    def face_box(
        self, head_pose: npt.NDArray[np.float32], width: int, height: int
    ) -> tuple[float, float, float, float] | None:
        """x0, y0, x1, y1 in pixels around what the sound moves, cut at the frame; None where that is out of sight."""
        x0, y0, x1, y1 = self.face_boxes(np.asarray(head_pose)[None], width, height)[0].tolist()
        return None if np.isnan(x0) else (x0, y0, x1, y1)

    def face_boxes(self, head_poses: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float64]:
        """`face_box` of several poses: (B, 3, 4) -> (B, 4), NaN where it is None."""
        poses = np.asarray(head_poses, np.float32)
        points = poses[..., :3] @ self._face + poses[..., 3:]  # (B, 3, M)
        nearest = points[:, 2].min(1)
        if (nearest > 0).all():
            return self._boxes_around(points, width, height)
        parts = [one if near > 0 else one[:, one[2] > 0] for one, near in zip(points, nearest, strict=True)]
        return np.concatenate([self._boxes_around(part[None], width, height) for part in parts])

    def _boxes_around(self, points: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float64]:
        """Boxes (B, 4) around points (B, 3, M) in front of the camera, without those farthest out."""
        count = points.shape[2]
        if not count:
            return np.full((len(points), 4), np.nan)
        fx, fy, cx, cy = self.intrinsics(width, height)
        outer = int(FACE_SHARE * (count - 1))
        ends = [outer, count - 1 - outer]
        spread = np.partition(points[:, :2] / points[:, 2:], ends, axis=-1)[..., ends].astype(np.float64)
        ends_of_axes = np.array([[fx], [fy]]) * spread + np.array([[cx], [cy]])
        boxes = np.clip(ends_of_axes, 0, np.array([[width], [height]], np.float64)).swapaxes(1, 2).reshape(-1, 4)
        boxes[~((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))] = np.nan
        return boxes

    def _emotions(self, drives: Sequence[Drive]) -> Tensor | None:
        states = len(self.network.config.emotion_states)
        if not states or all(drive.emotion is None for drive in drives):
            return None
        neutral = np.zeros(states, np.float32)
        return self._stack([neutral if drive.emotion is None else drive.emotion for drive in drives])

    def _stack(self, arrays: Sequence[npt.NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.stack(arrays).astype(np.float32, copy=False)).to(self.device)


def _face_points(avatar: Avatar) -> npt.NDArray[np.float32]:
    """Resting centres (3, M) of the face's Gaussians, evenly thinned; of all where none listens to the sound."""
    gaussians = avatar.gaussians
    listening = torch.nonzero(gaussians.audio_gate > FACE_GATE).flatten()
    if not len(listening):
        listening = torch.arange(gaussians.count)
    step = -(-len(listening) // FACE_POINTS)
    return np.ascontiguousarray(gaussians.xyz[listening[::step]].cpu().numpy().T)
