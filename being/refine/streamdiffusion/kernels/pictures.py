"""Pictures to channels-last, upsampled pictures, noise."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from being.refine.streamdiffusion.noise import CELL, CHANNELS, TEXELS

BLOCK = 1024  # numbers, or pixels, of one program
LATENTS = 8  # of one program


@triton.jit
def _channels_last(
    planes, out, by_picture, by_channel, by_pixel,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    picture = tl.program_id(1).to(tl.int64)
    pixels, channels = tl.program_id(0) * BP + tl.arange(0, BP), tl.arange(0, PADDED)
    inside = (pixels < PIXELS)[:, None]
    at = picture * by_picture + pixels[:, None] * by_pixel + channels[None, :] * by_channel
    value = tl.load(planes + at, mask=inside & (channels < CHANNELS)[None, :], other=0)
    tl.store(out + (picture * PIXELS + pixels[:, None]) * PADDED + channels[None, :], value, mask=inside)


@triton.jit
def _anchored_noise(
    bank, slots, maps, out, by_map,
    CELLS: tl.constexpr, CELL: tl.constexpr, CHANNELS: tl.constexpr, TEXELS: tl.constexpr, LATENTS: tl.constexpr,
):  # fmt: skip
    """One program some latents of a picture: the 64 pixels of each are averaged."""
    picture = tl.program_id(1)
    latents, inner = tl.program_id(0) * LATENTS + tl.arange(0, LATENTS), tl.arange(0, CELL * CELL)
    x = (latents % CELLS * CELL)[:, None] + (inner % CELL)[None, :] + 0.5
    y = (latents // CELLS * CELL)[:, None] + (inner // CELL)[None, :] + 0.5
    m = maps + picture * by_map
    depth = tl.load(m + 6) * x + tl.load(m + 7) * y + tl.load(m + 8)
    column = tl.floor((tl.load(m) * x + tl.load(m + 1) * y + tl.load(m + 2)) / depth).to(tl.int32)
    row = tl.floor((tl.load(m + 3) * x + tl.load(m + 4) * y + tl.load(m + 5)) / depth).to(tl.int32)
    column, row = column & (TEXELS - 1), row & (TEXELS - 1)
    at = ((tl.load(slots + picture) * TEXELS + row) * TEXELS + column) * CHANNELS
    there = latents < CELLS * CELLS
    deviation = tl.load(m + 9)
    for channel in range(CHANNELS):
        number = tl.load(bank + at + channel, mask=there[:, None], other=0).to(tl.float32)
        average = tl.sum(number, axis=1) / (CELL * CELL)
        tl.store(out + (picture * CELLS * CELLS + latents) * CHANNELS + channel, average / deviation, mask=there)


@triton.jit
def _interleave(
    phases, out, total, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    channel = at % CHANNELS
    pixel = at // CHANNELS
    x = pixel % (2 * WIDTH)
    line = pixel // (2 * WIDTH)
    y = line % (2 * HEIGHT)
    picture = line // (2 * HEIGHT)
    a, b = y % 2, x % 2
    source = (picture * (HEIGHT + 1) + y // 2 + a) * (WIDTH + 1) + x // 2 + b
    value = tl.load(phases + source * 4 * CHANNELS + (2 * a + b) * CHANNELS + channel, mask=inside, other=0)
    tl.store(out + at, value, mask=inside)


def channels_last(planes: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """See `twins.channels_last`."""
    count, given, height, width = planes.shape
    if planes.stride(2) != width * planes.stride(3):
        planes = planes.contiguous()
    padded = triton.next_power_of_2(max(given, channels))
    if padded != max(given, channels):
        raise ValueError(f"{channels} channels: not a power of two")
    shape = (count, padded, height, width)
    out = torch.empty(shape, dtype=dtype, device=planes.device, memory_format=torch.channels_last)
    _channels_last[(triton.cdiv(height * width, BLOCK), count)](
        planes, out, planes.stride(0), planes.stride(1), planes.stride(3),
        PIXELS=height * width, CHANNELS=given, PADDED=padded, BP=BLOCK,
    )  # fmt: skip
    return out


def anchored_noise(bank: Tensor, slots: Tensor, maps: Tensor, size: int) -> Tensor:
    """See `noise.anchored_noise`."""
    cells = size // CELL
    out = torch.empty(len(maps), cells, cells, CHANNELS, dtype=torch.float32, device=bank.device)
    _anchored_noise[(triton.cdiv(cells * cells, LATENTS), len(maps))](
        bank, slots, maps, out, maps.stride(0),
        CELLS=cells, CELL=CELL, CHANNELS=CHANNELS, TEXELS=TEXELS, LATENTS=LATENTS, num_warps=4,
    )  # fmt: skip
    return out


def interleave(phases: Tensor) -> Tensor:
    """See `twins.interleave`."""
    count, height, width, channels = phases.shape
    out = phases.new_empty(count, 2 * (height - 1), 2 * (width - 1), channels // 4)
    total = out.numel()
    _interleave[(triton.cdiv(total, BLOCK),)](
        phases, out, total, HEIGHT=height - 1, WIDTH=width - 1, CHANNELS=channels // 4, BLOCK=BLOCK
    )
    return out
