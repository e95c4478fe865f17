"""The engine: a batch of drives over any avatars in, one frame record a drive out."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from being.avatar.library import Library, LibraryEntry
from being.errors import BeingError
from being.inference.backends import torch as torch_path
from being.inference.backends.cpu import CpuBackend
from being.inference.frames import Drive, FrameRecord, check_drive, failed
from being.inference.items import RenderItem
from being.inference.renderable import RenderableAvatar
from being.inference.rendered_frame import RenderedFrame
from being.inference.yuv import rgb_to_yuv420

if TYPE_CHECKING:
    from being.inference.backends.gpu import GpuBackend

Fast = Literal["auto", "off", "full", "pruned", "pca", "distilled"]

RESIDENT = 8  # avatars kept loaded

log = logging.getLogger(__name__)


class Engine:
    """Draws frames; holds nothing but loaded avatars, so any engine can draw any drive.

    Parameters
    ----------
    library : where avatars come from.
    device : "cpu", "cuda", or "auto" for CUDA where it is present.
    fast : on the CPU, "auto" draws each avatar by the approximation its manifest names, a name forces one, "off" is the
        plain PyTorch reference. On a GPU "off" is the plain network and rasterizer, anything else
        the kernels of `gpu_path`.
    capacity : avatars kept loaded; the least recently drawn leaves.

    Safe to call from several threads.
    """

    def __init__(
        self, library: Library, device: str = "auto", fast: Fast = "auto", *, capacity: int = RESIDENT
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.library = library
        self.device = torch.device(device)
        self.fast = fast
        self._cpu: CpuBackend | None = None
        if self.device.type == "cpu" and fast != "off":
            self._cpu = CpuBackend(None if fast == "auto" else fast)
        self._gpu: GpuBackend | None = None
        if self.device.type == "cuda" and fast != "off":
            self._gpu = _gpu_path(self.device)
        self._capacity = max(1, capacity)
        self._loaded: OrderedDict[str, tuple[LibraryEntry, RenderableAvatar]] = OrderedDict()
        self._lock = threading.Lock()

    def prepare(self, avatar_id: str) -> RenderableAvatar:
        """Load an avatar, or find it loaded; a newer one on disk under the same id replaces it.

        Raises
        ------
        InputError, FormatError
            Where there is no such avatar, or its folder is damaged.
        """
        entry = self.library.get(avatar_id)
        with self._lock:
            loaded = self._loaded.get(avatar_id)
            if loaded is not None and loaded[0] is entry:
                self._loaded.move_to_end(avatar_id)
                return loaded[1]
        performer = RenderableAvatar(self.library.load(avatar_id), self.device)
        for path in (self._cpu, self._gpu):
            if path is not None:
                path.prepare(performer)
        with self._lock:
            self._loaded[avatar_id] = (entry, performer)
            self._loaded.move_to_end(avatar_id)
            while len(self._loaded) > self._capacity:
                self._loaded.popitem(last=False)
        return performer

    def warm_up(self, avatar_id: str) -> None:
        """Load an avatar and draw its first recorded frame, RGB and planes, alone and in a batch: all code is compiled.

        Seconds on a machine where Being never ran, a fraction of one later. Errors as `prepare`.
        """
        performer = self.prepare(avatar_id)
        config, motion = performer.network.config, performer.avatar.motion
        silence = np.zeros((config.audio_frames, config.audio_window, config.audio_width), np.float32)
        drive = Drive(avatar_id, silence, float(motion.eye[0]), motion.head_pose[0], motion.torso_pose[0])
        even = not any(side % 2 for side in performer.frame_size(drive))
        for kind in [drive, replace(drive, yuv=True)] if even else [drive]:
            self.render([kind])
            self.render([kind, kind])

    def resident(self) -> list[str]:
        """Ids of the loaded avatars, the one to leave first first."""
        with self._lock:
            return list(self._loaded)

    def render(self, drives: Sequence[Drive]) -> list[FrameRecord]:
        """One record a drive, in order. A row that cannot be drawn carries its error; nothing is raised for it."""
        records: list[FrameRecord | None] = [None] * len(drives)
        rows: list[RenderItem] = []
        places: list[int] = []
        for place, drive in enumerate(drives):
            try:
                performer = self.prepare(drive.avatar)
                check_drive(drive, performer.network.config, *performer.frame_size(drive))
            except BeingError as error:
                records[place] = failed(drive, str(error))
            else:
                rows.append((performer, drive))
                places.append(place)
        for place, record in zip(places, self._draw(rows), strict=True):
            records[place] = record
        return [record for record in records if record is not None]

    def _draw(self, rows: Sequence[RenderItem]) -> list[FrameRecord]:
        """Draw all rows together; where that fails, one by one, so that only the guilty ones carry an error."""
        if not rows:
            return []
        try:
            if self._cpu is not None:
                return self._cpu.draw(rows, _record)
            if self._gpu is not None:
                drawn = self._gpu.draw(rows)
            else:
                drawn = torch_path.draw(rows, backend="reference" if self.fast == "off" else "auto")
            return [_record(row, frame) for row, frame in zip(rows, drawn, strict=True)]
        except Exception as error:
            if len(rows) > 1:
                return [self._draw([row])[0] for row in rows]
            drive = rows[0][1]
            log.exception("avatar %s, frame %d could not be drawn", drive.avatar, drive.index)
            return [failed(drive, f"the frame could not be drawn ({type(error).__name__}: {error})")]


def _gpu_path(device: torch.device) -> GpuBackend | None:
    """The kernels for a GPU; None where Triton or gsplat is missing, and the plain path must do."""
    if find_spec("triton") is None or find_spec("gsplat") is None:
        log.warning("drawing without kernels of our own: install gsplat and triton (pip install 'being[gpu]')")
        return None
    from being.inference.backends.gpu import GpuBackend, try_out  # Triton is there on machines with a GPU only

    try:
        try_out(device)
    except Exception as error:  # a missing C compiler, a driver that Triton does not know: it raises all sorts
        log.warning("drawing without kernels of our own: Triton compiles nothing here (%s)", error)
        return None
    return GpuBackend(device)


def _record(row: RenderItem, drawn: RenderedFrame) -> FrameRecord:
    performer, drive = row
    return FrameRecord(
        index=drive.index,
        generation=drive.generation,
        image=rgb_to_yuv420(drawn.picture) if drive.yuv and not drawn.yuv else drawn.picture,
        alpha=drawn.alpha,
        depth=drawn.depth,
        face_box=performer.face_box(drive.head_pose, *performer.frame_size(drive)),
        head_pose=drive.head_pose,
    )
