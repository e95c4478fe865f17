"""From the words of frames to pictures on one GPU: conditions, deformation, rasterizer, in one fixed order of launches.

Which avatars the frames show, and how they move, stands in the words alone. So a batch of a size that came before is a
CUDA graph: one launch for some twenty, which is what a single live frame would otherwise wait for. Batches are of few
sizes, filled up with a frame that nobody looks at: live ones are of all sizes by turns, and each size costs a capture.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from being.model.gpu.conditioning import SCRATCH, fold_conditions, folded_size
from being.model.gpu.deformation import SplatRows, deform
from being.model.gpu.packing import NetworkShape, padded
from being.model.gpu.words import CAMERA, CAMERA_NUMBERS, word_count
from being.raster.gpu.drawing import draw_splats

BATCHES = (1, 2, 3, 4, 6, 8, 12, 16)  # frames drawn at once
ROOM = 1024  # Gaussians: room grows by this much

log = logging.getLogger(__name__)


def batch_size(count: int) -> int:
    """The frames to draw for so many that are wanted; more than the largest batch stay as many."""
    return next((size for size in BATCHES if size >= count), count)


class FramePipeline:
    """Frames of one network shape and size.

    Parameters
    ----------
    shape : of the networks. anchor : what their avatars' numbers stand apart from.
    size : width and height. depth : whether it is wanted.
    """

    def __init__(self, shape: NetworkShape, anchor: Tensor, size: tuple[int, int], *, depth: bool) -> None:
        self._shape, self._anchor, self._size, self._depth = shape, anchor, size, depth
        self._memory = _Memory(0, 0, shape, size, depth, anchor.device)
        self._seen: dict[int, torch.cuda.CUDAGraph | None] = {}  # by number of frames
        self._can_capture = anchor.device.type == "cuda"
        self._pool = self._new_pool()

    def __call__(self, words: Tensor, wanted: int, most: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Draw frames, of which the first B are wanted.

        words : (`batch_size`, `word_count`) in pinned memory. most : Gaussians of the longest avatar.

        Returns premultiplied colours (B, H, W, 3), coverage (B, H, W), and depth weighed by it or None. They hold until
        the next call on the same stream: read or copy them before.
        """
        count = len(words)
        self._reserve(count, most)
        memory = self._memory
        memory.words[:count].copy_(words, non_blocking=True)
        graph = (self._seen[count] or self._captured(count)) if count in self._seen and self._can_capture else None
        if graph is None:
            self._seen.setdefault(count, None)  # once without a graph: compiles what is not yet
            self._launch(count)
        else:
            graph.replay()
        return memory.pictures(wanted)

    def _launch(self, count: int) -> None:
        memory = self._memory
        words, folded, splats = memory.words[:count], memory.folded[:count], memory.splats.first(count)
        fold_conditions(words, self._anchor, self._shape, folded, memory.scratch[:count])
        deform(words, self._anchor, self._shape, folded, splats)
        draw_splats(splats.parts, words[:, CAMERA : CAMERA + CAMERA_NUMBERS], *memory.pictures(count))

    def _reserve(self, count: int, most: int) -> None:
        """Room for so many frames and Gaussians; graphs over less room are forgotten."""
        memory = self._memory
        if count > memory.frames or most > memory.room:
            frames, room = max(memory.frames, 1 << (count - 1).bit_length()), max(memory.room, padded(most, ROOM))
            self._seen.clear()
            self._pool = self._new_pool()  # the old one ends with the last of its graphs
            self._memory = _Memory(frames, room, self._shape, self._size, self._depth, self._anchor.device)

    def _new_pool(self) -> Any:
        """Memory that graphs work in by turns."""
        return torch.cuda.graph_pool_handle() if self._can_capture else None

    def _captured(self, count: int) -> torch.cuda.CUDAGraph | None:
        """The launches as a graph; None, and never tried again, where this machine cannot."""
        device = self._anchor.device
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        try:
            with torch.cuda.stream(stream):
                # Other threads go on using the GPU. `torch.cuda.graph` would empty the caches of all of them first.
                with torch.inference_mode(False):  # makes the generator's state, which any later graph writes
                    graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    self._launch(count)
                finally:
                    graph.capture_end()
        except Exception as error:  # a driver, PyTorch or Triton that will not: they raise all sorts
            log.warning("frames are drawn without CUDA graphs, which costs a lone frame some time: %s", error)
            self._can_capture = False
            return None
        torch.cuda.current_stream(device).wait_stream(stream)
        self._seen[count] = graph
        return graph


class _Memory:
    """What the launches read and write, for so many frames of so many Gaussians."""

    def __init__(
        self, frames: int, room: int, shape: NetworkShape, size: tuple[int, int], depth: bool, device: torch.device
    ) -> None:
        width, height = size
        self.frames, self.room = frames, room
        self.words = torch.zeros(frames, word_count(shape), device=device)
        self.folded = torch.zeros(frames, folded_size(shape), device=device)
        self.scratch = torch.zeros(frames, SCRATCH, device=device)
        self.splats = SplatRows(frames, room, device)
        self._rgb = torch.zeros(frames, height, width, 3, device=device)
        self._alpha = torch.zeros(frames, height, width, device=device)
        self._far = torch.zeros_like(self._alpha) if depth else None

    def pictures(self, count: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Of the first frames."""
        return self._rgb[:count], self._alpha[:count], None if self._far is None else self._far[:count]
