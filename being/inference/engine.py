"""The engine: a batch of drives over any avatars in, one frame record a drive out."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from importlib.util import find_spec
from operator import or_
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from being.avatar.library import Library, LibraryEntry
from being.errors import BeingError
from being.inference.backends.contract import RenderBackend
from being.inference.backends.cpu import CpuBackend
from being.inference.backends.kernels import planes_kernel
from being.inference.backends.torch import TorchBackend
from being.inference.check import all_finite, check_drive
from being.inference.frame_batch import FrameStage
from being.inference.frames import Drive, Extras, FrameRecord, PixelFormat
from being.inference.items import RenderItem, alike
from being.inference.output import start_to_host, to_output
from being.inference.renderable import RenderableAvatar
from being.inference.rendered import FrameInfo, Pictures, RenderedFrames
from being.model.device import device_of, on_device

Fast = Literal["auto", "off", "full", "pruned", "pca", "distilled"]

RESIDENT = 8  # avatars kept loaded

Pending = tuple[list[int], Callable[[], Pictures]]  # frames of an answer, and what waits for their pictures

log = logging.getLogger(__name__)


class Engine:
    """Draws frames; holds nothing but loaded avatars, so any engine can draw any drive.

    Parameters
    ----------
    library : where avatars come from.
    device : "cpu", "cuda", or "auto" for CUDA where it is present.
    fast : on the CPU, "auto" draws each avatar by the approximation its manifest allows, a name forces one, "off" is
        the plain PyTorch reference. A GPU needs no approximation: there "off" is the plain network and rasterizer,
        anything else the kernels of `backends.gpu`.
    capacity : avatars kept loaded; the least recently drawn leaves.
    stages : what frames pass on the device before they leave it, in order.

    Safe to call from several threads.
    """

    def __init__(
        self,
        library: Library,
        device: str = "auto",
        fast: Fast = "auto",
        *,
        capacity: int = RESIDENT,
        stages: Sequence[FrameStage] = (),
    ) -> None:
        self.library = library
        self.device = device_of(device)
        self.fast = fast
        self.stages = tuple(stages)
        with on_device(self.device):
            self.backend = _backend(self.device, fast)
        self._capacity = max(1, capacity)
        self._loaded: OrderedDict[str, tuple[LibraryEntry, RenderableAvatar]] = OrderedDict()
        self._lock = threading.Lock()
        self._staging = threading.Lock()

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
        with on_device(self.device):
            return self._prepared(avatar_id, entry)

    def _prepared(self, avatar_id: str, entry: LibraryEntry) -> RenderableAvatar:
        renderable = RenderableAvatar(self.library.load(avatar_id), self.device)
        self.backend.prepare(renderable)
        with self._staging:  # a stage may be at work on frames: it is called by one thread at a time
            for stage in self.stages:
                stage.prepare(avatar_id)
            for leaving in self._keep(avatar_id, entry, renderable):
                for stage in self.stages:
                    stage.forget(leaving)
        return renderable

    def _keep(self, avatar_id: str, entry: LibraryEntry, renderable: RenderableAvatar) -> list[str]:
        """Remember a loaded avatar; those that leave for it."""
        leaving = []
        with self._lock:
            self._loaded[avatar_id] = (entry, renderable)
            self._loaded.move_to_end(avatar_id)
            while len(self._loaded) > self._capacity:
                leaving.append(self._loaded.popitem(last=False)[0])
        return leaving

    def warm_up(self, avatar_id: str) -> None:
        """Load an avatar and draw its first recorded frame, RGB and planes, in batches of all sizes.

        All code is compiled then: seconds on a machine where Being never ran, a fraction of one later. Errors as
        `prepare`.
        """
        renderable = self.prepare(avatar_id)
        config, motion = renderable.network.config, renderable.avatar.motion
        silence = np.zeros((config.audio_frames, config.audio_window, config.audio_width), np.float32)
        drive = Drive(avatar_id, silence, float(motion.eye[0]), motion.head_pose[0], motion.torso_pose[0])
        even = not any(side % 2 for side in renderable.frame_size(drive))
        for kind in [drive, replace(drive, pixel_format=PixelFormat.YUV420)] if even else [drive]:
            for count in self.backend.batch_sizes:
                self.render([kind] * count)

    def resident(self) -> list[str]:
        """Ids of the loaded avatars, the one to leave first first."""
        with self._lock:
            return list(self._loaded)

    def render(self, drives: Sequence[Drive]) -> list[FrameRecord]:
        """One record a drive, in order. A frame that cannot be drawn carries its error; nothing is raised for it."""
        return self.render_frames(drives).records()

    def render_frames(self, drives: Sequence[Drive]) -> RenderedFrames:
        """As `render`, by column."""
        with on_device(self.device):
            return self._rendered(drives)

    def _rendered(self, drives: Sequence[Drive]) -> RenderedFrames:
        needs = reduce(or_, (stage.needs for stage in self.stages), Extras.NONE)
        errors: dict[int, str] = {}
        items: list[RenderItem] = []
        rows: list[int] = []
        staged: list[bool] = []
        found: dict[str, RenderableAvatar] = {}
        finite = all_finite(drives)
        for row, drive in enumerate(drives):
            try:
                renderable = found.get(drive.avatar) or self.prepare(drive.avatar)
                found[drive.avatar] = renderable
                check_drive(drive, renderable.network.config, *renderable.frame_size(drive), finite=finite)
            except BeingError as error:
                errors[row] = str(error)
            else:
                changed = any(stage.concerns(drive) for stage in self.stages)
                items.append((renderable, drive.with_extras(drive.extras | needs) if changed else drive))
                staged.append(changed)
                rows.append(row)
        info = FrameInfo.of(drives)
        if any(Extras.FACE_BOX in drive.extras for _, drive in items):
            info = replace(info, face_boxes=_face_boxes(len(drives), rows, items))
        # What a GPU draws is copied while it draws the next; only at the end somebody waits.
        pending: list[Pending] = []
        for group in alike(items, staged):
            for start in range(0, len(group), self.backend.max_items):
                part = group[start : start + self.backend.max_items]
                stages = self.stages if staged[part[0]] else ()
                drawn = [items[place] for place in part], [rows[place] for place in part]
                pending += self._draw(*drawn, stages, info, errors)
        pictures: list[Pictures] = []
        for own, finish in pending:
            try:
                pictures.append(finish())
            except Exception as error:  # the GPU itself failed
                log.exception("%d frames could not be copied from the device", len(own))
                errors |= dict.fromkeys(own, f"the frame could not be drawn ({type(error).__name__}: {error})")
        return RenderedFrames(info, tuple(pictures), errors)

    def _draw(
        self,
        items: Sequence[RenderItem],
        rows: Sequence[int],
        stages: Sequence[FrameStage],
        info: FrameInfo,
        errors: dict[int, str],
    ) -> list[Pending]:
        """Draw items together; where that fails, one by one, so that only the guilty ones get an error."""
        try:
            return self._draw_together(items, rows, stages, info)
        except Exception as error:
            if len(items) > 1:
                pairs = zip(items, rows, strict=True)
                return [part for item, row in pairs for part in self._draw([item], [row], stages, info, errors)]
            drive = items[0][1]
            log.exception("avatar %s, frame %d could not be drawn", drive.avatar, drive.index)
            errors[rows[0]] = f"the frame could not be drawn ({type(error).__name__}: {error})"
            return []

    @torch.inference_mode()
    def _draw_together(
        self, items: Sequence[RenderItem], rows: Sequence[int], stages: Sequence[FrameStage], info: FrameInfo
    ) -> list[Pending]:
        drives = [drive for _, drive in items]
        alpha = any(Extras.ALPHA in drive.extras for drive in drives)
        if not stages:
            drawn = self.backend.render(items, drives[0].pixel_format)
            return [(list(rows), start_to_host(drawn, rows, alpha=alpha))]
        batch = replace(self.backend.render(items), info=info.take(rows))
        with self._staging:
            for stage in stages:
                batch = stage(batch)
        pending: list[Pending] = []
        for pixel_format in dict.fromkeys(drive.pixel_format for drive in drives):
            own = [place for place, drive in enumerate(drives) if drive.pixel_format is pixel_format]
            made = to_output(batch.take(own), pixel_format, planes_kernel(self.device))
            places = [rows[place] for place in own]
            pending.append((places, start_to_host(made, places, alpha=alpha)))
        return pending


def _backend(device: torch.device, fast: Fast) -> RenderBackend:
    if fast == "off":
        return TorchBackend("reference")
    if device.type == "cpu":
        return CpuBackend(None if fast == "auto" else fast)
    return _gpu_backend(device) or TorchBackend()


def _gpu_backend(device: torch.device) -> RenderBackend | None:
    """The kernels for a GPU; None where Triton is missing, and PyTorch must do."""
    if find_spec("triton") is None:
        log.warning("drawing without kernels of our own: install triton (it comes with PyTorch's CUDA builds)")
        return None
    if planes_kernel(device) is None:
        return None
    from being.inference.backends.gpu import GpuBackend  # Triton is there on machines with a GPU only

    return GpuBackend(device)


def _face_boxes(count: int, rows: Sequence[int], items: Sequence[RenderItem]) -> npt.NDArray[np.float32]:
    """(count, 4); NaN where a frame is not drawn or its face is out of sight."""
    boxes = np.full((count, 4), np.nan, np.float32)
    by_view: dict[tuple[RenderableAvatar, int, int], tuple[list[int], list[npt.NDArray[np.float32]]]] = {}
    for row, (renderable, drive) in zip(rows, items, strict=True):
        places, poses = by_view.setdefault((renderable, *renderable.frame_size(drive)), ([], []))
        places.append(row)
        poses.append(drive.head_pose)
    for (renderable, width, height), (places, poses) in by_view.items():
        boxes[places] = renderable.face_boxes(np.stack(poses), width, height)
    return boxes
