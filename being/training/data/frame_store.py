"""Where a training's pictures are kept: on the device, in main memory, or in the folder they are decoded from anew.

Minutes of footage outgrow memory: 7,500 frames of 1080x1080 are 35 GB. Pictures that do not fit stay in their files;
labels and mattes, which shrink well, are kept compressed. Threads decode the next step's frames meanwhile.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from being.memory import available_memory

Place = Literal["device", "memory", "folder"]
DEVICE_SHARE, MEMORY_SHARE = 0.5, 0.4  # of what is free that frames may take on the device, in main memory
LEVEL = 1  # of zlib: labels shrink to a hundredth


class Pixels(NamedTuple):
    """B stored frames: images (B, H, W, 3), marks (B, H, W) labels and mouth bits, alphas (B, H, W) or (0,); uint8."""

    images: Tensor
    marks: Tensor
    alphas: Tensor


class Decoded(NamedTuple):
    """One frame: image (H, W, 3), marks (H, W), alpha (H, W) or None."""

    image: NDArray[np.uint8]
    marks: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None


class FrameStore(ABC):
    """Frames by number. `put` once for each, from any thread; then `take`."""

    on_device = False  # whether taking frames needs no host

    @abstractmethod
    def put(self, index: int, frame: Decoded) -> None:
        """Keep a frame."""

    @abstractmethod
    def take(self, frames: Tensor) -> Pixels:
        """Frames by their numbers (B,), on the device that trains."""

    @abstractmethod
    def one(self, index: int) -> Decoded:
        """A frame, in main memory."""

    def expect(self, frames: Sequence[int]) -> None:  # noqa: B027 - only where something is to be made ready
        """Say which frames will be taken next."""


class KeptFrames(FrameStore):
    """All frames as bytes in one place: the device that trains, or main memory."""

    def __init__(self, frames: int, width: int, height: int, mattes: bool, place: torch.device, device: torch.device):
        shape = (frames, height, width)
        self._images = torch.empty((*shape, 3), dtype=torch.uint8, device=place)
        self._marks = torch.empty(shape, dtype=torch.uint8, device=place)
        self._alphas = torch.empty(shape if mattes else (0,), dtype=torch.uint8, device=place)
        self._device, self.on_device = device, place.type == device.type

    def put(self, index: int, frame: Decoded) -> None:
        """See `FrameStore`."""
        for kept, part in zip((self._images, self._marks, self._alphas), frame, strict=True):
            if part is not None:
                kept[index].copy_(torch.from_numpy(np.require(part, requirements="W")))

    def take(self, frames: Tensor) -> Pixels:
        """See `FrameStore`. On the device nothing here waits for it."""
        where = frames.to(self._images.device)
        alphas = self._alphas[where].to(self._device) if len(self._alphas) else self._alphas
        return Pixels(self._images[where].to(self._device), self._marks[where].to(self._device), alphas)

    def one(self, index: int) -> Decoded:
        """See `FrameStore`."""
        alpha = self._alphas[index].cpu().numpy() if len(self._alphas) else None
        return Decoded(self._images[index].cpu().numpy(), self._marks[index].cpu().numpy(), alpha)


class StreamedFrames(FrameStore):
    """Pictures (H, W, 3) that `decode(index)` gives at each use, several at a time and ahead; the rest compressed."""

    def __init__(self, size: tuple[int, int], decode: Callable[[int], NDArray[np.uint8]], device: torch.device) -> None:
        self._width, self._height = size
        self._decode, self._device = decode, device
        self._marks: dict[int, bytes] = {}
        self._alphas: dict[int, bytes] = {}
        self._pool = ThreadPoolExecutor(min(16, cpu_count() or 4), "decode")
        self._ready: dict[int, Future[Decoded]] = {}
        self._ready_before: dict[int, Future[Decoded]] = {}

    def put(self, index: int, frame: Decoded) -> None:
        """See `FrameStore`: all but the picture, which stays where `decode` finds it."""
        self._marks[index] = zlib.compress(frame.marks.tobytes(), LEVEL)
        if frame.alpha is not None:
            self._alphas[index] = zlib.compress(frame.alpha.tobytes(), LEVEL)

    def take(self, frames: Tensor) -> Pixels:
        """See `FrameStore`."""
        jobs = [self._job(index) for index in frames.tolist()]
        decoded = [job.result() for job in jobs]
        alphas = [frame.alpha for frame in decoded if frame.alpha is not None]
        images, marks = (self._moved(parts) for parts in zip(*(frame[:2] for frame in decoded), strict=True))
        return Pixels(images, marks, self._moved(alphas) if alphas else torch.zeros(0, dtype=torch.uint8))

    def expect(self, frames: Sequence[int]) -> None:
        """See `FrameStore`. What was expected the time before stays, the rest is forgotten."""
        self._ready, self._ready_before = {index: self._job(index) for index in frames}, self._ready

    def one(self, index: int) -> Decoded:
        """See `FrameStore`."""
        alpha = self._bytes(self._alphas, index) if self._alphas else None
        return Decoded(self._decode(index), self._bytes(self._marks, index), alpha)

    def _job(self, index: int) -> Future[Decoded]:
        job = self._ready.get(index) or self._ready_before.get(index)
        return self._pool.submit(self.one, index) if job is None else job

    def _bytes(self, parts: dict[int, bytes], index: int) -> NDArray[np.uint8]:
        found = bytearray(zlib.decompress(parts[index]))  # writable, as tensors want their memory
        return np.frombuffer(found, np.uint8).reshape(self._height, self._width)

    def _moved(self, parts: Sequence[NDArray[np.uint8]]) -> Tensor:
        shape = (len(parts), *parts[0].shape)
        host = torch.empty(shape, dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        np.stack(parts, out=host.numpy())
        return host.to(self._device, non_blocking=True)


def frame_bytes(frames: int, width: int, height: int, mattes: bool) -> int:
    """Of all frames as `KeptFrames` has them."""
    return frames * width * height * (5 if mattes else 4)


def best_place(size: int, device: torch.device) -> Place:
    """Where so many bytes of frames fit: on the device, else in main memory, else in their folder."""
    if device.type == "cuda" and size < DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return "device"
    if size < MEMORY_SHARE * available_memory():
        return "memory" if device.type == "cuda" else "device"
    return "folder"


def frame_store(
    place: Place | Literal["auto"],
    frames: int,
    size: tuple[int, int],
    mattes: bool,
    decode: Callable[[int], NDArray[np.uint8]],
    device: torch.device,
) -> FrameStore:
    """An empty store for frames of a size (width, height). decode : picture (H, W, 3) of a frame, any time later."""
    width, height = size
    if place == "auto":
        place = best_place(frame_bytes(frames, width, height, mattes), device)
    if place == "folder":
        return StreamedFrames(size, decode, device)
    where = device if place == "device" else torch.device("cpu")
    return KeptFrames(frames, width, height, mattes, where, device)
