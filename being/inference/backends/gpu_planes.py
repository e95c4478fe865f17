"""From blended splats to the planes an encoder wants, on the GPU: composite, convert, subsample, round, in one pass.

The plain twin is `FrameBatch.composited` and `rgb_to_yuv420`. Floor per pixel: 16 bytes of colour and coverage and 3 of
the backdrop read, 2.5 written; what then crosses to main memory is 2.5 bytes a pixel where RGB and coverage would be 4.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from being.inference.yuv import yuv_weights

BLOCK = 256  # 2x2 pixels of one program


def planes(rgb: Tensor, alpha: Tensor, backdrops: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Premultiplied colours over backdrops, as 4:2:0 planes of BT.709 in limited range, and coverage in bytes.

    rgb: (B, H, W, 3) float32, even sizes; alpha: (B, H, W); backdrops: (K, H, W, 3) uint8; which: (B,) int32, the
    backdrop of each picture. Returns uint8 (B, 3 H / 2, W) and (B, H, W). Rounded once, where `rgb_to_yuv420` starts
    from rounded RGB: they differ by one level at most.
    """
    count, height, width, _ = rgb.shape
    out = torch.empty(count, height * 3 // 2, width, dtype=torch.uint8, device=rgb.device)
    coverage = torch.empty(count, height, width, dtype=torch.uint8, device=rgb.device)
    grid = (triton.cdiv(height * width // 4, BLOCK), count)
    _convert[grid](
        rgb.contiguous(), alpha.contiguous(), backdrops.contiguous(), which, _weights(rgb.device), out, coverage,
        height, width, BLOCK=BLOCK,
    )  # fmt: skip
    return out, coverage


def try_out(device: torch.device) -> None:
    """Compile and run the kernel on nothing; raises what Triton raises where it cannot."""
    empty = torch.zeros(1, 2, 2, 3, device=device)
    planes(empty, empty[..., 0], empty.to(torch.uint8), torch.zeros(1, dtype=torch.int32, device=device))
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@lru_cache(maxsize=8)
def _weights(device: torch.device) -> Tensor:
    return torch.from_numpy(yuv_weights()).to(device)


@triton.jit
def _to_byte(value):  # type: ignore[no-untyped-def]
    return tl.minimum(tl.maximum(value + 0.5, 0.0), 255.0).to(tl.uint8)


@triton.jit
def _over(rgb, backdrop, clear, at, there):  # type: ignore[no-untyped-def]
    """One channel at these pixels, 0..255."""
    value = 255.0 * tl.load(rgb + at, mask=there, other=0.0)
    value += clear * tl.load(backdrop + at, mask=there, other=0).to(tl.float32)
    return tl.minimum(tl.maximum(value, 0.0), 255.0)


@triton.jit(do_not_specialize=["height", "width"])
def _convert(rgb, alpha, backdrops, which, weights, out, coverage, height, width, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Program (i, b): the i-th run of 2x2 pixels of picture b."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    picture = tl.program_id(1)
    across = width // 2
    there = at < across * (height // 2)
    row, column = at // across, at % across
    pixels = height * width
    rgb += picture * pixels * 3
    alpha += picture * pixels
    backdrops += tl.load(which + picture) * pixels * 3
    out += picture * (pixels * 3 // 2)
    coverage += picture * pixels
    red, green, blue = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for down in tl.static_range(2):
        for aside in tl.static_range(3):  # the column before, and the two of the block: [1 2 1] across
            x = tl.maximum(2 * column + (aside - 1), 0)
            pixel = (2 * row + down) * width + x
            a = tl.load(alpha + pixel, mask=there, other=0.0)
            r = _over(rgb, backdrops, 1 - a, 3 * pixel, there)
            g = _over(rgb, backdrops, 1 - a, 3 * pixel + 1, there)
            b = _over(rgb, backdrops, 1 - a, 3 * pixel + 2, there)
            share = 0.25 if aside == 1 else 0.125
            red, green, blue = red + r * share, green + g * share, blue + b * share
            if aside > 0:
                luma = tl.load(weights) * r + tl.load(weights + 1) * g + tl.load(weights + 2) * b + tl.load(weights + 3)
                tl.store(out + pixel, _to_byte(luma), mask=there)
                tl.store(coverage + pixel, _to_byte(255.0 * a), mask=there)
    for plane in tl.static_range(2):
        w = weights + 4 * (plane + 1)
        chroma = tl.load(w) * red + tl.load(w + 1) * green + tl.load(w + 2) * blue + tl.load(w + 3)
        tl.store(out + pixels + plane * (pixels // 4) + at, _to_byte(chroma), mask=there)
