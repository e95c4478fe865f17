"""Drawing on a GPU at speed: what frames depend on is packed into one copy, kernels do the rest.

Per batch, one small copy to the GPU (16 KB a frame, most of it sound) and one or two back (1.5 bytes a pixel, 1 more
where coverage is wanted); frames of one size are drawn together, whatever avatars they show. Networks of other shapes
than the kernels' are left to the plain twin, `TorchBackend`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from being.inference.backends.gpu_backdrops import DeviceBackdrops
from being.inference.backends.gpu_pipeline import BATCHES, FramePipeline, batch_size
from being.inference.backends.gpu_planes import planes
from being.inference.backends.torch import TorchBackend, mean_depth
from being.inference.compositing import Transparent
from being.inference.frame_batch import FrameBatch
from being.inference.frames import Extras, PixelFormat
from being.inference.items import RenderItem
from being.inference.output import to_output
from being.inference.renderable import RenderableAvatar
from being.inference.rendered import FrameInfo
from being.model.gpu.packing import STEP, NetworkShape, PackedAvatar, fits
from being.model.gpu.words import FrameWords, word_count

PIPELINES = 6  # sizes of frames that keep their memory and graphs


class GpuBackend:
    """Draws on one GPU (or, slowly, on the CPU under TRITON_INTERPRET=1)."""

    batch_sizes: Sequence[int] = BATCHES
    max_items = BATCHES[-1]  # frames in flight: more gain nothing

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._plain = TorchBackend()
        self._anchor = torch.zeros(STEP, device=device)
        self._prepared: WeakKeyDictionary[RenderableAvatar, PackedAvatar | None] = WeakKeyDictionary()
        self._pipelines: OrderedDict[tuple[NetworkShape, int, int, bool], FramePipeline] = OrderedDict()
        self._backdrops: OrderedDict[tuple[int, int], DeviceBackdrops] = OrderedDict()
        self._stream: torch.cuda.Stream | None = None
        self._lock = threading.Lock()  # one GPU: taking turns costs nothing, and bounds the memory

    def prepare(self, renderable: RenderableAvatar) -> None:
        """Pack the avatar's network, so that its first frames do not pay for it."""
        with self._lock:
            self._packed(renderable)

    @torch.inference_mode()
    def render(self, items: Sequence[RenderItem], pixel_format: PixelFormat | None = None) -> FrameBatch:
        """See `RenderBackend`; what stages get is PREMULTIPLIED."""
        with self._lock:
            self._follow_stream()
            groups: dict[NetworkShape | None, list[int]] = {}
            for index, (renderable, _) in enumerate(items):
                packed = self._packed(renderable)
                groups.setdefault(None if packed is None else packed.shape, []).append(index)
            parts = [
                self._drawn([items[index] for index in part], shape, pixel_format) for shape, part in groups.items()
            ]
            batch = parts[0]
            for part in parts[1:]:
                batch = batch.joined(part)
            order = [index for part in groups.values() for index in part]
            return batch.take([order.index(index) for index in range(len(items))])

    def _drawn(
        self, items: Sequence[RenderItem], shape: NetworkShape | None, pixel_format: PixelFormat | None
    ) -> FrameBatch:
        batch = self._plain.render(items) if shape is None else self._raster(items, shape)
        if pixel_format is not None:
            return to_output(batch, pixel_format, planes)
        if shape is None:
            return batch
        return replace(batch, pixels=batch.pixels.clone(), alpha=batch.alpha.clone())  # the next batch is drawn over it

    def _raster(self, items: Sequence[RenderItem], shape: NetworkShape) -> FrameBatch:
        width, height = items[0][0].frame_size(items[0][1])
        drives = [drive for _, drive in items]
        depth = Extras.DEPTH in drives[0].extras
        words = self._words(items, shape, width, height)
        most = max(renderable.gaussians.count for renderable, _ in items)
        rgb, alpha, far = self._pipeline(shape, width, height, depth)(words, len(items), most)
        backdrops, which = self._backdrops_of((width, height)).find(
            [renderable.backdrop(drive.background, width, height) for renderable, drive in items]
        )
        backdrop_of = self._buffer((len(items),), torch.int32)
        backdrop_of.numpy()[:] = which
        return FrameBatch(
            info=FrameInfo.of(drives),
            pixels=rgb,
            alpha=alpha,
            pixel_format=PixelFormat.PREMULTIPLIED,
            backdrops=backdrops,
            backdrop_of=backdrop_of.to(self.device, non_blocking=True),
            clear=np.array([isinstance(drive.background, Transparent) for drive in drives]),
            depth=None if far is None else mean_depth(far, alpha),
        )

    def _words(self, items: Sequence[RenderItem], shape: NetworkShape, width: int, height: int) -> Tensor:
        """(`batch_size`, words) in pinned memory: what the pipeline must know of the frames; the last one fills up."""
        words = self._buffer((batch_size(len(items)), word_count(shape)), torch.float32)
        rows = words.numpy()
        columns = FrameWords(shape, rows[: len(items)])
        heads = {renderable: self._head(renderable, width, height) for renderable in {one for one, _ in items}}
        drives = [drive for _, drive in items]
        columns.avatars[:] = [heads[renderable][0] for renderable, _ in items]
        columns.cameras[:] = [heads[renderable][1] for renderable, _ in items]
        columns.head_poses[:] = np.concatenate([drive.head_pose for drive in drives]).reshape(-1, 12)
        columns.torso_poses[:] = np.concatenate([drive.torso_pose for drive in drives]).reshape(-1, 12)
        columns.set_eyes(np.array([drive.eye for drive in drives], np.float32))
        np.stack([drive.context for drive in drives], out=columns.contexts)
        for row, drive in enumerate(drives):
            if drive.emotion is not None:
                columns.emotions[row, : len(drive.emotion)] = drive.emotion
        rows[len(items) :] = rows[len(items) - 1]
        return words

    def _head(
        self, renderable: RenderableAvatar, width: int, height: int
    ) -> tuple[tuple[int, int, int, int], tuple[float, ...]]:
        """Where the avatar's numbers are, how many Gaussians it has, and its camera."""
        packed = self._packed(renderable)
        assert packed is not None
        avatar = (*packed.steps_from(self._anchor), packed.count, packed.held // STEP)
        return avatar, (*renderable.intrinsics(width, height), *renderable.low_pass(width, height))

    def _pipeline(self, shape: NetworkShape, width: int, height: int, depth: bool) -> FramePipeline:
        key = shape, width, height, depth
        if key not in self._pipelines:
            self._pipelines[key] = FramePipeline(shape, self._anchor, (width, height), depth=depth)
        self._pipelines.move_to_end(key)
        while len(self._pipelines) > PIPELINES:
            self._pipelines.popitem(last=False)
        return self._pipelines[key]

    def _backdrops_of(self, size: tuple[int, int]) -> DeviceBackdrops:
        if size not in self._backdrops:
            self._backdrops[size] = DeviceBackdrops(self.device)
        self._backdrops.move_to_end(size)
        while len(self._backdrops) > PIPELINES:
            self._backdrops.popitem(last=False)
        return self._backdrops[size]

    def _buffer(self, shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
        """Main memory that the GPU reads at full speed; PyTorch uses it again when that is done."""
        return torch.empty(shape, dtype=kind, pin_memory=self.device.type == "cuda")

    def _follow_stream(self) -> None:
        """Memory is used again in the order of one stream: where a caller brings another, that waits for the last."""
        if self.device.type == "cuda":
            stream = torch.cuda.current_stream(self.device)
            if self._stream is not None and self._stream != stream:
                stream.wait_stream(self._stream)
            self._stream = stream

    def _packed(self, renderable: RenderableAvatar) -> PackedAvatar | None:
        """None where the kernels cannot run the network."""
        if renderable not in self._prepared:
            able = fits(renderable.network.config)
            self._prepared[renderable] = PackedAvatar(renderable.network, renderable.gaussians) if able else None
        return self._prepared[renderable]
