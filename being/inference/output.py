"""The last stage: frames to the bytes that were asked for, and those to host memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from being.inference.frame_batch import FrameBatch
from being.inference.frames import PixelFormat
from being.inference.rendered import Pictures
from being.inference.yuv import rgb_to_yuv420

Planes = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # `backends.gpu_planes.planes`


def to_output(batch: FrameBatch, pixel_format: PixelFormat, planes: Planes | None = None) -> FrameBatch:
    """Lay over the backgrounds, round, convert.

    pixel_format : RGB or YUV420. planes : the device's kernel for 4:2:0; without one planes are made on the host from
    rounded RGB.
    """
    if batch.pixel_format is pixel_format:
        return batch
    if pixel_format is PixelFormat.YUV420 and planes is not None:
        return _by_kernel(batch, planes)
    if batch.pixel_format is not PixelFormat.RGB:
        pixels = to_bytes(batch.composited().pixels)
        batch = replace(batch, pixels=pixels, alpha=_alpha_bytes(batch), pixel_format=PixelFormat.RGB)
    if pixel_format is PixelFormat.RGB:
        return batch
    made = torch.from_numpy(np.stack([rgb_to_yuv420(picture) for picture in batch.pixels.cpu().numpy()]))
    return replace(batch, pixels=made, pixel_format=PixelFormat.YUV420)


def to_host(batch: FrameBatch, rows: Sequence[int], *, alpha: bool) -> Pictures:
    """Bytes in host memory, as the frames `rows` of an answer; coverage and depth only where they are wanted."""
    return start_to_host(batch, rows, alpha=alpha)()


def start_to_host(batch: FrameBatch, rows: Sequence[int], *, alpha: bool) -> Callable[[], Pictures]:
    """As `to_host`, without waiting for a GPU; what it returns waits."""
    wanted = [batch.pixels, batch.alpha if alpha else None, batch.depth]
    host = [None if part is None else _copied(part) for part in wanted]
    device = batch.pixels.device
    copied = _copy_stream(device).record_event() if device.type == "cuda" else None

    def finish() -> Pictures:
        if copied is not None:
            copied.synchronize()
        pixels, coverage, depth = (None if part is None else part.numpy() for part in host)
        assert pixels is not None
        return Pictures(tuple(rows), batch.pixel_format, pixels, coverage, depth)

    return finish


def to_bytes(values: Tensor) -> Tensor:
    """[0, 1] to 0..255, rounded; what lies outside is cut."""
    return (values.clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def _by_kernel(batch: FrameBatch, planes: Planes) -> FrameBatch:
    if batch.pixel_format is PixelFormat.PREMULTIPLIED and not batch.clear.any():
        pixels, coverage = planes(batch.pixels, batch.alpha, batch.backdrops, batch.backdrop_of)
        return replace(batch, pixels=pixels, alpha=coverage, pixel_format=PixelFormat.YUV420)
    # What is composited already is opaque to the kernel, and nothing shows through.
    over = batch.composited().pixels
    opaque = over.new_ones(over.shape[:3])
    behind = torch.zeros(1, *over.shape[1:], dtype=torch.uint8, device=over.device)
    pixels, _ = planes(over, opaque, behind, torch.zeros(len(over), dtype=torch.int32, device=over.device))
    return replace(batch, pixels=pixels, alpha=_alpha_bytes(batch), pixel_format=PixelFormat.YUV420)


def _alpha_bytes(batch: FrameBatch) -> Tensor:
    return batch.alpha if batch.alpha.dtype == torch.uint8 else to_bytes(batch.alpha)


def _copied(part: Tensor) -> Tensor:
    """In host memory; from a GPU at full speed while it draws on, and there only once the copy's stream is so far."""
    if part.device.type != "cuda":
        return part.cpu()
    here = torch.empty(part.shape, dtype=part.dtype, pin_memory=True)
    stream = _copy_stream(part.device)
    stream.wait_stream(torch.cuda.current_stream(part.device))
    with torch.cuda.stream(stream):
        here.copy_(part, non_blocking=True)
    part.record_stream(stream)
    return here


@lru_cache(maxsize=8)
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
