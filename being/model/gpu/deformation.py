"""Network and assembly of a GPU in one pass: folded conditions of a frame in, splats in camera space out.

The plain PyTorch twin is `DeformationNetwork.offsets` then `assemble`: some eighty launches, between which 4.5 KB a
Gaussian and frame travel to the GPU's memory and back. Here a block of Gaussians stays in registers from its features
to its splats, and one launch draws the frames of any avatars of one shape. Floor per Gaussian and frame: 66k
multiply-adds (tf32 on tensor cores), 560 bytes read (features and canonical Gaussian; they stay in the GPU's cache)
and 56 written: 20k Gaussians cost 2.6 GFLOP and 1.1 MB a frame.
"""

from __future__ import annotations

from copy import copy

import torch
import triton
import triton.language as tl
from torch import Tensor

from being.model.gpu.conditioning import POSES
from being.model.gpu.packing import COLOURS, COLUMNS, NetworkShape, padded, weight_places
from being.raster import sh as harmonics
from being.raster.contract import MAX_ALPHA

BLOCK, WARPS = 128, 4  # Gaussians and warps of one program: 58 us a frame on an H100 in batches of 16

_NAMED = {name: tl.constexpr(getattr(harmonics, name)) for name in
          ("C0", "C1", "C2_XY", "C2_ZZ", "C3_A", "C3_B", "C3_C", "C3_D")}  # fmt: skip
C0, C1, C2_XY, C2_ZZ, C3_A, C3_B, C3_C, C3_D = _NAMED.values()
_MOST = tl.constexpr(MAX_ALPHA)

_PARTS = (
    "TOKEN_WEIGHTS", "OUTPUT_BIAS", "NORM1", "NORM1_BIAS", "FFN_IN", "FFN_IN_BIAS", "FFN_OUT", "FFN_OUT_BIAS",
    "NORM2", "NORM2_BIAS", "HEADS_IN", "HEADS_IN_BIAS", "LEAN", "LEAN_BIAS", "COLOURS", "COLOURS_BIAS",
)  # fmt: skip


def deform(words: Tensor, anchor: Tensor, shape: NetworkShape, folded: Tensor, splats: SplatRows) -> None:
    """Splats of B frames into the first B rows; room that an avatar does not fill gets opacity 0.

    words, anchor, folded : see `conditioning.fold_conditions`. splats : room for the longest avatar.
    """
    places = weight_places(shape)
    _splat[(triton.cdiv(splats.length, BLOCK), len(words))](
        words.view(torch.int64), anchor, folded, *splats.parts, splats.length,
        WORDS=words.shape[1], SIZE=folded.shape[1], WIDTH=shape.width, HIDDEN=shape.hidden, HEADS=shape.heads,
        TOKENS=len(shape.tokens), POSES=POSES, COLUMNS=COLUMNS, SHADES=COLOURS, BLOCK=BLOCK,
        **{name: places[name][0] for name in _PARTS}, num_warps=WARPS,
    )  # fmt: skip


class SplatRows:
    """Splats of R pictures as a rasterizer takes them, room for `most` in each.

    Attributes
    ----------
    means, scales, colors : (R, N, 3). quats : (R, N, 4). opacities : (R, N), capped at 0.99, 0 where a number is bad.
    length : N, a multiple of 16: Triton compiles another kernel for rows that start elsewhere. Unused room has
        opacity 0.
    """

    def __init__(self, rows: int, most: int, device: torch.device) -> None:
        self.length = padded(most)

        def empty(*trailing: int) -> Tensor:
            return torch.zeros(rows, self.length, *trailing, device=device)

        self.means, self.quats, self.scales = empty(3), empty(4), empty(3)
        self.opacities, self.colors = empty(), empty(3)

    def first(self, rows: int) -> SplatRows:
        """The first pictures' splats, the same memory."""
        own = copy(self)
        own.means, own.quats, own.scales = self.means[:rows], self.quats[:rows], self.scales[:rows]
        own.opacities, own.colors = self.opacities[:rows], self.colors[:rows]
        return own

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Means, quats, scales, opacities, colours."""
        return self.means, self.quats, self.scales, self.opacities, self.colors


@triton.jit
def _turned(w, x, y, z, a, b, c):  # type: ignore[no-untyped-def]
    """Vectors (a, b, c) turned by unit quaternions: v + 2 w (u x v) + 2 u x (u x v)."""
    i, j, k = 2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)
    return a + w * i + y * k - z * j, b + w * j + z * i - x * k, c + w * k + x * j - y * i


@triton.jit
def _normal(x, scale, shift, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Layer norm over the last axis."""
    x = x - tl.sum(x, 1)[:, None] / WIDTH
    spread = tl.sum(x * x, 1)[:, None] / WIDTH
    return x / tl.sqrt(spread + 1e-12) * scale[None] + shift[None]


@triton.jit
def _column(values, columns, index):  # type: ignore[no-untyped-def]
    return tl.sum(tl.where(columns[None] == index, values, 0.0), 1)


@triton.jit
def _moved(pose, x, y, z):  # type: ignore[no-untyped-def]
    """Points under the pose [R|t] at this address."""
    a = tl.load(pose) * x + tl.load(pose + 1) * y + tl.load(pose + 2) * z + tl.load(pose + 3)
    b = tl.load(pose + 4) * x + tl.load(pose + 5) * y + tl.load(pose + 6) * z + tl.load(pose + 7)
    c = tl.load(pose + 8) * x + tl.load(pose + 9) * y + tl.load(pose + 10) * z + tl.load(pose + 11)
    return a, b, c


@triton.jit(do_not_specialize=["length"])  # nothing shall be compiled in mid-conversation
def _splat(  # type: ignore[no-untyped-def]
    numbers, anchor, folded, means_out, quats_out, scales_out, opacities_out, colours_out, length,
    WORDS: tl.constexpr, SIZE: tl.constexpr, WIDTH: tl.constexpr, HIDDEN: tl.constexpr, HEADS: tl.constexpr,
    TOKENS: tl.constexpr, POSES: tl.constexpr, COLUMNS: tl.constexpr, SHADES: tl.constexpr, BLOCK: tl.constexpr,
    TOKEN_WEIGHTS: tl.constexpr, OUTPUT_BIAS: tl.constexpr, NORM1: tl.constexpr, NORM1_BIAS: tl.constexpr,
    FFN_IN: tl.constexpr, FFN_IN_BIAS: tl.constexpr, FFN_OUT: tl.constexpr, FFN_OUT_BIAS: tl.constexpr,
    NORM2: tl.constexpr, NORM2_BIAS: tl.constexpr, HEADS_IN: tl.constexpr, HEADS_IN_BIAS: tl.constexpr,
    LEAN: tl.constexpr, LEAN_BIAS: tl.constexpr, COLOURS: tl.constexpr, COLOURS_BIAS: tl.constexpr,
):  # fmt: skip
    """Program (i, b): the i-th block of Gaussians in frame b."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    numbers += tl.program_id(1) * (WORDS // 2)
    count = tl.load(numbers + 2).to(tl.int32)
    row = tl.program_id(1) * length + n
    if tl.program_id(0) * BLOCK >= count:
        tl.store(opacities_out + row, tl.zeros((BLOCK,), tl.float32), mask=n < length)
        return
    net = anchor + 16 * tl.load(numbers)
    held = 16 * tl.load(numbers + 3).to(tl.int32)
    features = anchor + 16 * tl.load(numbers + 1)
    sh = features + held * WIDTH
    quats = sh + held * 48
    xyz = quats + held * 4
    log_scales, gates, logits, head_weights = xyz + held * 3, xyz + held * 6, xyz + held * 7, xyz + held * 8
    ffn_in, ffn_out, into, lean, colours = net + FFN_IN, net + FFN_OUT, net + HEADS_IN, net + LEAN, net + COLOURS
    token_weights = net + TOKEN_WEIGHTS
    there = n < count
    frame = folded + tl.program_id(1) * SIZE
    d, f = tl.arange(0, WIDTH), tl.arange(0, HIDDEN)
    columns, wide = tl.arange(0, COLUMNS), tl.arange(0, SHADES)

    # Listen: softmax over each head's tokens, weighed by the gates.
    x = tl.load(features + n[:, None] * WIDTH + d[None], mask=there[:, None], other=0.0)
    vectors = frame + POSES + COLUMNS
    scores = tl.dot(x, tl.load(vectors + d[:, None] * COLUMNS + columns[None]))
    scores += tl.load(frame + POSES + columns)[None]
    gate = tl.load(gates + n, mask=there, other=0.0)
    gated = tl.load(token_weights + COLUMNS + columns)
    weight = tl.load(token_weights + columns)[None] * (1.0 + gated[None] * (gate[:, None] - 1.0))
    attention = tl.zeros((BLOCK, COLUMNS), tl.float32)
    for head in tl.static_range(HEADS):
        mine = (columns // TOKENS == head) & (columns < HEADS * TOKENS)
        top = tl.max(tl.where(mine[None], scores, float("-inf")), 1)
        part = tl.where(mine[None], tl.exp(tl.minimum(scores - top[:, None], 0.0)) * weight, 0.0)
        attention += part / tl.maximum(tl.sum(part, 1), 1e-20)[:, None]
    vectors += COLUMNS * WIDTH
    heard = tl.dot(attention, tl.load(vectors + columns[:, None] * WIDTH + d[None]))
    h = _normal(
        x + heard + tl.load(net + OUTPUT_BIAS + d)[None], tl.load(net + NORM1 + d), tl.load(net + NORM1_BIAS + d), WIDTH
    )
    inner = tl.dot(h, tl.load(ffn_in + d[:, None] * HIDDEN + f[None])) + tl.load(net + FFN_IN_BIAS + f)[None]
    fed = tl.dot(tl.maximum(inner, 0.0), tl.load(ffn_out + f[:, None] * WIDTH + d[None]))
    h = _normal(
        h + fed + tl.load(net + FFN_OUT_BIAS + d)[None], tl.load(net + NORM2 + d), tl.load(net + NORM2_BIAS + d), WIDTH
    )
    h = tl.maximum(h, 0.0)

    # Read the offsets off.
    offsets = tl.zeros((BLOCK, COLUMNS), tl.float32)
    for head in tl.static_range(4):
        inner = tl.dot(h, tl.load(into + head * WIDTH * HIDDEN + d[:, None] * HIDDEN + f[None]))
        inner = tl.maximum(inner + tl.load(net + HEADS_IN_BIAS + head * HIDDEN + f)[None], 0.0)
        offsets += tl.dot(inner, tl.load(lean + head * HIDDEN * COLUMNS + f[:, None] * COLUMNS + columns[None]))
    offsets += tl.load(net + LEAN_BIAS + columns)[None]
    inner = tl.dot(h, tl.load(into + 4 * WIDTH * HIDDEN + d[:, None] * HIDDEN + f[None]))
    inner = tl.maximum(inner + tl.load(net + HEADS_IN_BIAS + 4 * HIDDEN + f)[None], 0.0)
    shade = (
        tl.dot(inner, tl.load(colours + f[:, None] * SHADES + wide[None])) + tl.load(net + COLOURS_BIAS + wide)[None]
    )
    shade += tl.load(sh + n[:, None] * 48 + wide[None], mask=there[:, None] & (wide < 48)[None], other=0.0)

    # Move with head and torso.
    px = tl.load(xyz + 3 * n, mask=there, other=0.0) + _column(offsets, columns, 0)
    py = tl.load(xyz + 3 * n + 1, mask=there, other=0.0) + _column(offsets, columns, 1)
    pz = tl.load(xyz + 3 * n + 2, mask=there, other=0.0) + _column(offsets, columns, 2)
    share = tl.load(head_weights + n, mask=there, other=0.0)
    hx, hy, hz = _moved(frame, px, py, pz)
    tx, ty, tz = _moved(frame + 12, px, py, pz)
    mx, my, mz = tx + share * (hx - tx), ty + share * (hy - ty), tz + share * (hz - tz)
    tw, ti = tl.load(frame + 28), tl.load(frame + 29)
    tj, tk = tl.load(frame + 30), tl.load(frame + 31)
    w = tw + share * (tl.load(frame + 24) - tw)
    i = ti + share * (tl.load(frame + 25) - ti)
    j = tj + share * (tl.load(frame + 26) - tj)
    k = tk + share * (tl.load(frame + 27) - tk)
    long = 1.0 / tl.maximum(tl.sqrt(w * w + i * i + j * j + k * k), 1e-12)
    w, i, j, k = w * long, i * long, j * long, k * long
    qw = tl.load(quats + 4 * n, mask=there, other=1.0) + _column(offsets, columns, 6)
    qi = tl.load(quats + 4 * n + 1, mask=there, other=0.0) + _column(offsets, columns, 7)
    qj = tl.load(quats + 4 * n + 2, mask=there, other=0.0) + _column(offsets, columns, 8)
    qk = tl.load(quats + 4 * n + 3, mask=there, other=0.0) + _column(offsets, columns, 9)
    long = 1.0 / tl.maximum(tl.sqrt(qw * qw + qi * qi + qj * qj + qk * qk), 1e-12)
    qw, qi, qj, qk = qw * long, qi * long, qj * long, qk * long
    tl.store(quats_out + 4 * row, w * qw - i * qi - j * qj - k * qk, mask=there)
    tl.store(quats_out + 4 * row + 1, w * qi + i * qw + j * qk - k * qj, mask=there)
    tl.store(quats_out + 4 * row + 2, w * qj - i * qk + j * qw + k * qi, mask=there)
    tl.store(quats_out + 4 * row + 3, w * qk + i * qj - j * qi + k * qw, mask=there)
    tl.store(means_out + 3 * row, mx, mask=there)
    tl.store(means_out + 3 * row + 1, my, mask=there)
    tl.store(means_out + 3 * row + 2, mz, mask=there)
    bad = mx + my + mz + w * qw + qi + qj + qk
    for axis in tl.static_range(3):
        side = tl.exp(tl.load(log_scales + 3 * n + axis, mask=there, other=0.0) + _column(offsets, columns, 3 + axis))
        tl.store(scales_out + 3 * row + axis, side, mask=there)
        bad += side

    # Shade along the ray, seen from the Gaussian's own frame.
    long = 1.0 / tl.maximum(tl.sqrt(mx * mx + my * my + mz * mz), 1e-12)
    x, y, z = _turned(w, -i, -j, -k, mx * long, my * long, mz * long)
    order = (wide // 3)[None]
    basis = tl.where(order == 0, C0, 0.0)
    basis = tl.where(order == 1, (-y * C1)[:, None], basis)
    basis = tl.where(order == 2, (z * C1)[:, None], basis)
    basis = tl.where(order == 3, (-x * C1)[:, None], basis)
    basis = tl.where(order == 4, (x * y * C2_XY)[:, None], basis)
    basis = tl.where(order == 5, (-y * z * C2_XY)[:, None], basis)
    basis = tl.where(order == 6, ((3 * z * z - 1) * C2_ZZ)[:, None], basis)
    basis = tl.where(order == 7, (-x * z * C2_XY)[:, None], basis)
    basis = tl.where(order == 8, ((x * x - y * y) * 0.5 * C2_XY)[:, None], basis)
    basis = tl.where(order == 9, (-y * (3 * x * x - y * y) * C3_A)[:, None], basis)
    basis = tl.where(order == 10, (x * y * z * C3_B)[:, None], basis)
    basis = tl.where(order == 11, (-y * (5 * z * z - 1) * C3_C)[:, None], basis)
    basis = tl.where(order == 12, (z * (5 * z * z - 3) * C3_D)[:, None], basis)
    basis = tl.where(order == 13, (-x * (5 * z * z - 1) * C3_C)[:, None], basis)
    basis = tl.where(order == 14, (z * (x * x - y * y) * 0.5 * C3_B)[:, None], basis)
    basis = tl.where(order == 15, (-x * (x * x - 3 * y * y) * C3_A)[:, None], basis)
    for channel in tl.static_range(3):
        colour = 0.5 + tl.sum(tl.where((wide % 3 == channel)[None], basis * shade, 0.0), 1)
        tl.store(colours_out + 3 * row + channel, tl.maximum(colour, 0.0), mask=there)
        bad += colour

    opacity = 1.0 / (1.0 + tl.exp(-(tl.load(logits + n, mask=there, other=0.0) + _column(offsets, columns, 10))))
    bad += opacity
    opacity = tl.where(tl.abs(bad) < float("inf"), tl.minimum(opacity, _MOST), 0.0)
    tl.store(opacities_out + row, tl.where(there, opacity, 0.0), mask=n < length)
