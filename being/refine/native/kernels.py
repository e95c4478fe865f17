"""The native refiner's small operations as one kernel each; `being.refine.native.twins` says what they compute."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from being.refine.native.references import COARSE, NODES, THUMB, References, View

PIXELS = 256  # of one program
FEW = 64  # of a thumbnail's pixels


@triton.jit
def _laid(
    texture, unlike, depth, cameras, poses, pose, camera, out, side, texels,
    OUT: tl.constexpr, NODES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = tl.program_id(1)
    area = side * side
    inside = at < area
    far = tl.load(depth + row * area + at, mask=inside, other=0)
    own, turned = cameras + 4 * row, poses + 12 * row
    x = ((at % side).to(tl.float32) + 0.5 - tl.load(own + 2)) / tl.load(own) * far - tl.load(turned + 3)
    y = ((at // side).to(tl.float32) + 0.5 - tl.load(own + 3)) / tl.load(own + 1) * far - tl.load(turned + 7)
    z = far - tl.load(turned + 11)
    a = x * tl.load(turned) + y * tl.load(turned + 4) + z * tl.load(turned + 8)
    b = x * tl.load(turned + 1) + y * tl.load(turned + 5) + z * tl.load(turned + 9)
    c = x * tl.load(turned + 2) + y * tl.load(turned + 6) + z * tl.load(turned + 10)
    u = a * tl.load(pose) + b * tl.load(pose + 1) + c * tl.load(pose + 2) + tl.load(pose + 3)
    v = a * tl.load(pose + 4) + b * tl.load(pose + 5) + c * tl.load(pose + 6) + tl.load(pose + 7)
    w = a * tl.load(pose + 8) + b * tl.load(pose + 9) + c * tl.load(pose + 10) + tl.load(pose + 11)
    w = tl.maximum(w, 1e-3)
    across = tl.load(camera) * u / w + tl.load(camera + 2)
    down = tl.load(camera + 1) * v / w + tl.load(camera + 3)
    most = texels * 2.5  # what lies further outside of the chart is outside all the same
    across = tl.minimum(tl.maximum(across, -1.5 * texels), most)
    down = tl.minimum(tl.maximum(down, -1.5 * texels), most)
    there = inside & (far > 0)
    left, top = tl.floor(across - 0.5), tl.floor(down - 0.5)
    s, t = across - 0.5 - left, down - 0.5 - top
    first_x, first_y = left.to(tl.int32) - 1, top.to(tl.int32) - 1
    red, green, blue = s * 0, s * 0, s * 0
    plane = texels * texels
    whole = texture + row * 3 * plane
    for i in tl.static_range(4):
        weight_y = _cubic(t + 1 - i)
        in_y = (first_y + i >= 0) & (first_y + i < texels)
        for j in tl.static_range(4):
            weight = weight_y * _cubic(s + 1 - j)
            valid = there & in_y & (first_x + j >= 0) & (first_x + j < texels)
            place = whole + (first_y + i) * texels + first_x + j
            red += weight * tl.load(place, mask=valid, other=0).to(tl.float32)
            green += weight * tl.load(place + plane, mask=valid, other=0).to(tl.float32)
            blue += weight * tl.load(place + 2 * plane, mask=valid, other=0).to(tl.float32)
    answer = out + row * OUT * area + at
    tl.store(answer, red, mask=inside)
    tl.store(answer + area, green, mask=inside)
    tl.store(answer + 2 * area, blue, mask=inside)
    if OUT == 4:
        gx, gy = across / texels * (NODES - 1), down / texels * (NODES - 1)
        left, top = tl.floor(gx), tl.floor(gy)
        found = s * 0
        for i in tl.static_range(2):
            node_y = top.to(tl.int32) + i
            for j in tl.static_range(2):
                node_x = left.to(tl.int32) + j
                weight = (1 - tl.abs(gx - left - j)) * (1 - tl.abs(gy - top - i))
                valid = there & (node_x >= 0) & (node_x < NODES) & (node_y >= 0) & (node_y < NODES)
                place = unlike + row * NODES * NODES + node_y * NODES + node_x
                found += weight * tl.load(place, mask=valid, other=0).to(tl.float32)
        tl.store(answer + 3 * area, found, mask=inside)


@triton.jit
def _cubic(x):
    """Cubic convolution, a = -0.75, as PyTorch has it."""
    x = tl.abs(x)
    near = (1.25 * x - 2.25) * x * x + 1
    further = ((-0.75 * x + 3.75) * x - 6) * x + 3
    return tl.where(x <= 1, near, tl.where(x < 2, further, 0.0))


@triton.jit
def _thumbnails(
    crops, points, cameras, poses, out, side, wide, small, row_stride,
    CELL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel, row = tl.program_id(1), tl.program_id(2)
    inside = at < small * small
    own, turned = cameras + 4 * row, poses + 12 * row
    source = crops + row * row_stride + channel * side * side
    half = side // 2
    total = at.to(tl.float32) * 0
    for i in tl.static_range(CELL):
        for j in tl.static_range(CELL):
            place = points + 3 * ((at // small * CELL + i) * wide + at % small * CELL + j)
            a = tl.load(place, mask=inside, other=0)
            b = tl.load(place + 1, mask=inside, other=0)
            c = tl.load(place + 2, mask=inside, other=0)
            u = a * tl.load(turned) + b * tl.load(turned + 1) + c * tl.load(turned + 2) + tl.load(turned + 3)
            v = a * tl.load(turned + 4) + b * tl.load(turned + 5) + c * tl.load(turned + 6) + tl.load(turned + 7)
            w = a * tl.load(turned + 8) + b * tl.load(turned + 9) + c * tl.load(turned + 10) + tl.load(turned + 11)
            w = tl.maximum(w, 1e-3)
            x = (tl.load(own) * u / w + tl.load(own + 2)) / 2 - 0.5
            y = (tl.load(own + 1) * v / w + tl.load(own + 3)) / 2 - 0.5
            x = tl.minimum(tl.maximum(x, 0.0), half - 1.0)
            y = tl.minimum(tl.maximum(y, 0.0), half - 1.0)
            left, top = tl.floor(x), tl.floor(y)
            s, t = x - left, y - top
            x0, y0 = left.to(tl.int32), top.to(tl.int32)
            x1, y1 = tl.minimum(x0 + 1, half - 1), tl.minimum(y0 + 1, half - 1)
            upper = (1 - s) * _four(source, x0, y0, side, inside) + s * _four(source, x1, y0, side, inside)
            lower = (1 - s) * _four(source, x0, y1, side, inside) + s * _four(source, x1, y1, side, inside)
            total += (1 - t) * upper + t * lower
    answer = out + (row * 3 + channel) * small * small + at
    tl.store(answer, total * (255.0 / (CELL * CELL)), mask=inside)


@triton.jit
def _four(source, x, y, side, inside):
    """Mean of four pixels."""
    place = source + 2 * y * side + 2 * x
    upper = tl.load(place, mask=inside, other=0) + tl.load(place + 1, mask=inside, other=0)
    lower = tl.load(place + side, mask=inside, other=0) + tl.load(place + side + 1, mask=inside, other=0)
    return 0.25 * (upper + lower)


@triton.jit
def _sharpened(crops, alpha, change, kernel, out, side, row_stride, REACH: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel, row = tl.program_id(1), tl.program_id(2)
    area = side * side
    inside = at < area
    x, y = at % side, at // side
    source = crops + row * row_stride + channel * area
    changed = change + (row * 3 + channel) * area
    total = at.to(tl.float32) * 0
    for i in tl.static_range(2 * REACH + 1):
        down = tl.minimum(tl.maximum(y + i - REACH, 0), side - 1) * side
        for j in tl.static_range(2 * REACH + 1):
            place = down + tl.minimum(tl.maximum(x + j - REACH, 0), side - 1)
            value = tl.load(source + place, mask=inside, other=0) + tl.load(changed + place, mask=inside, other=0)
            total += tl.load(kernel + i * (2 * REACH + 1) + j).to(tl.float32) * value
    covered = tl.load(alpha + row * row_stride + at, mask=inside, other=0)
    tl.store(
        out + (row * 3 + channel) * area + at,
        tl.load(changed + at, mask=inside, other=0) + covered * total,
        mask=inside,
    )


def laid(references: References, texture: Tensor, unlike: Tensor | None, view: View) -> Tensor:
    """See `twins.laid`."""
    count, side = len(texture), view.depth.shape[-1]
    channels = 3 if unlike is None else 4
    out = torch.empty(count, channels, side, side, device=texture.device)
    _laid[(triton.cdiv(side * side, PIXELS), count)](
        texture, texture if unlike is None else unlike.contiguous(), *_contiguous(view),
        references.pose, references.camera, out, side, references.texels,
        OUT=channels, NODES=NODES, BLOCK=PIXELS,
    )  # fmt: skip
    return out


def thumbnails(references: References, x: Tensor, view: View) -> Tensor:
    """See `twins.thumbnails`."""
    x, (_, cameras, poses) = x.contiguous(), _contiguous(view)
    count, side, small = len(x), x.shape[-1], references.texels // THUMB
    out = torch.empty(count, 3, small, small, device=x.device)
    _thumbnails[(triton.cdiv(small * small, FEW), 3, count)](
        x, references.points, cameras, poses, out, side, references.texels // COARSE, small, x.stride(0),
        CELL=THUMB // COARSE, BLOCK=FEW,
    )  # fmt: skip
    return out


def sharpened(x: Tensor, change: Tensor, gain: Tensor) -> Tensor:
    """See `twins.sharpened`."""
    x, change = x.contiguous(), change.contiguous()
    count, side = len(x), x.shape[-1]
    out = torch.empty(count, 3, side, side, device=x.device)
    _sharpened[(triton.cdiv(side * side, PIXELS), 3, count)](
        x, x[:, 3], change, gain, out, side, x.stride(0), REACH=gain.shape[0] // 2, BLOCK=PIXELS
    )
    return out


def _contiguous(view: View) -> tuple[Tensor, Tensor, Tensor]:
    return view.depth.contiguous(), view.cameras.contiguous(), view.poses.contiguous()
