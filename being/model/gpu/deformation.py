"""Network and assembly of a GPU in one pass: tokens of a frame in, splats in camera space out.

The plain PyTorch twin is `DeformationNetwork.offsets` then `assemble`: some eighty launches, between which 4.5 KB a
Gaussian and frame travel to the GPU's memory and back. Here a block of Gaussians stays in registers from its features
to its splats. Floor per Gaussian and frame: 66k multiply-adds (tf32 on tensor cores), 560 bytes read (features and
canonical Gaussian; they stay in the GPU's cache) and 56 written: 20k Gaussians cost 2.6 GFLOP and 1.1 MB a frame.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from being.model.attention import SpatialAudioAttention
from being.model.fold import LayerFold, pose_words
from being.model.gaussians import Gaussians
from being.model.network import GATED, OFFSET_SIZES, DeformationNetwork, NetworkConfig
from being.raster import sh as harmonics
from being.raster.contract import MAX_ALPHA

Floats = npt.NDArray[np.float32]

BLOCK, WARPS = 128, 8  # Gaussians and warps of one program; measured on an H100, against 64, 4: 0.74 of the time
COLUMNS = 16  # of a matrix product at least: attention scores, and the offsets that are not colours
COLOURS = 64  # the 48 colour coefficients, padded
POSES = 32  # numbers: head [R|t], torso [R|t], their quaternions
LEAN = ("xyz", "log_scales", "quats", "opacity_logits")  # eleven offsets side by side in one product

_NAMED = {name: tl.constexpr(getattr(harmonics, name)) for name in
          ("C0", "C1", "C2_XY", "C2_ZZ", "C3_A", "C3_B", "C3_C", "C3_D")}  # fmt: skip
C0, C1, C2_XY, C2_ZZ, C3_A, C3_B, C3_C, C3_D = _NAMED.values()
_MOST = tl.constexpr(MAX_ALPHA)


def fits(config: NetworkConfig) -> bool:
    """Whether the kernel can run this network: one layer, powers of two, at most 16 pairs of head and token."""
    powers = all(size >= COLUMNS and size & (size - 1) == 0 for size in (config.width, config.head_width))
    return config.layers == 1 and powers and config.heads * len(config.tokens) <= COLUMNS


class Splatter:
    """One avatar's network and Gaussians, packed for the kernel.

    Parameters
    ----------
    network, gaussians : on one device, a GPU (or the CPU under TRITON_INTERPRET=1). They are read once.
    """

    def __init__(self, network: DeformationNetwork, gaussians: Gaussians) -> None:
        config = network.config
        if not fits(config):
            raise ValueError("the network has another shape than the kernel")
        self.count, self.width, self.hidden = gaussians.count, config.width, config.head_width
        self.tokens, self.heads = len(config.tokens), config.heads
        self.device = gaussians.xyz.device
        layer = network.layers[0]
        assert isinstance(layer, SpatialAudioAttention)
        with torch.no_grad():
            weight = network.token_weights(None)[0]
            self._features = network.canonical_features(gaussians.xyz).float().contiguous()
            self._gates = gaussians.audio_gate.float().contiguous()
            self._canonical = [
                part.detach().float().reshape(self.count, -1).contiguous()
                for part in (gaussians.xyz, gaussians.log_scales, gaussians.quats, gaussians.opacity_logits,
                             gaussians.sh, gaussians.head_weight)
            ]  # fmt: skip
            gated = weight.new_tensor([name in GATED for name in config.tokens])
            self._columns = torch.cat([self._padded(v.float().repeat(self.heads), COLUMNS) for v in (weight, gated)])
            self._layer = self._packed_layer(layer)
            self._offsets = self._packed_heads(network.heads)
        self._fold = LayerFold(layer)

    @property
    def frame_size(self) -> int:
        """Numbers that one frame hands to the kernel."""
        return POSES + COLUMNS + 2 * COLUMNS * self.width

    def frames(self, tokens: Floats, head_pose: Floats, torso_pose: Floats, out: Floats) -> None:
        """Write what B frames hand to the kernel into out (B, frame_size): poses, and the layer folded with tokens.

        tokens: (B, T, width). head_pose, torso_pose: (B, 3, 4).
        """
        out[:] = 0
        out[:, :POSES] = pose_words(head_pose, torso_pose)
        scores, bias, outputs = self._fold(tokens)
        pairs = self.heads * self.tokens
        out[:, POSES : POSES + pairs] = bias
        start, size = POSES + COLUMNS, COLUMNS * self.width
        out[:, start : start + size].reshape(-1, self.width, COLUMNS)[:, :, :pairs] = scores
        out[:, start + size : start + 2 * size].reshape(-1, COLUMNS, self.width)[:, :pairs] = outputs

    def __call__(self, frames: Tensor, splats: SplatRows, first: int) -> None:
        """Splats of B frames (B, frame_size) into the rows first .. first + B of `splats`."""
        grid = (triton.cdiv(self.count, BLOCK), len(frames))
        _splat[grid](
            frames, self._features, self._gates, *self._canonical, self._columns, *self._layer, *self._offsets,
            *(part[first:] for part in splats.parts), self.count, splats.length,
            SIZE=self.frame_size, WIDTH=self.width, HIDDEN=self.hidden, HEADS=self.heads, TOKENS=self.tokens,
            POSES=POSES, COLUMNS=COLUMNS, COLOURS=COLOURS, BLOCK=BLOCK, num_warps=WARPS,
        )  # fmt: skip

    def _packed_layer(self, layer: SpatialAudioAttention) -> list[Tensor]:
        """What of the layer is the same in every frame, matrices as (in, out)."""
        return [
            value.detach().float().contiguous()
            for value in (
                layer.output.bias, layer.norm_attention.weight, layer.norm_attention.bias,
                layer.ffn_in.weight.T, layer.ffn_in.bias, layer.ffn_out.weight.T, layer.ffn_out.bias,
                layer.norm_ffn.weight, layer.norm_ffn.bias,
            )
        ]  # fmt: skip

    def _packed_heads(self, heads: nn.ModuleDict) -> list[Tensor]:
        """First maps (5, width, hidden), (5, hidden); second ones (4, hidden, 16), (16,); those of colours."""
        into, into_bias, out, out_bias, at = [], [], [], torch.zeros(COLUMNS, device=self.device), 0
        for name in LEAN:
            first, second = (part for part in heads[name].children() if isinstance(part, nn.Linear))
            size = OFFSET_SIZES[name]
            beside = torch.zeros(self.hidden, COLUMNS, device=self.device)
            beside[:, at : at + size] = second.weight.detach().T
            out_bias[at : at + size] = second.bias.detach()
            into.append(first.weight.detach().T)
            into_bias.append(first.bias.detach())
            out.append(beside)
            at += size
        first, second = (part for part in heads["sh"].children() if isinstance(part, nn.Linear))
        colours = torch.zeros(self.hidden, COLOURS, device=self.device)
        colours[:, : OFFSET_SIZES["sh"]] = second.weight.detach().T
        packed = [
            torch.stack([*into, first.weight.detach().T]), torch.stack([*into_bias, first.bias.detach()]),
            torch.stack(out), out_bias, colours, self._padded(second.bias.detach(), COLOURS),
        ]  # fmt: skip
        return [value.float().contiguous() for value in packed]

    def _padded(self, values: Tensor, length: int) -> Tensor:
        return torch.nn.functional.pad(values, (0, length - len(values))).contiguous()


class SplatRows:
    """Splats of R pictures as a rasterizer takes them, room for `most` in each.

    Attributes
    ----------
    means, scales, colors : (R, N, 3). quats : (R, N, 4). opacities : (R, N), capped at 0.99, 0 where a number is bad.
    length : N, a multiple of 16: Triton compiles another kernel for rows that start elsewhere. Unused room has
        opacity 0.
    """

    def __init__(self, rows: int, most: int, device: torch.device) -> None:
        self.length = -(-most // 16) * 16

        def empty(*trailing: int) -> Tensor:
            return torch.zeros(rows, self.length, *trailing, device=device)

        self.means, self.quats, self.scales = empty(3), empty(4), empty(3)
        self.opacities, self.colors = empty(), empty(3)

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


@triton.jit(do_not_specialize=["count", "length"])  # nothing shall be compiled in mid-conversation
def _splat(  # type: ignore[no-untyped-def]
    frames, features, gates, xyz, log_scales, quats, logits, sh, head_weights, token_weights,
    listened_bias, norm1, norm1_bias, ffn_in, ffn_in_bias, ffn_out, ffn_out_bias, norm2, norm2_bias,
    into, into_bias, lean, lean_bias, colours, colours_bias,
    means_out, quats_out, scales_out, opacities_out, colours_out, count, length,
    SIZE: tl.constexpr, WIDTH: tl.constexpr, HIDDEN: tl.constexpr, HEADS: tl.constexpr, TOKENS: tl.constexpr,
    POSES: tl.constexpr, COLUMNS: tl.constexpr, COLOURS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (i, b): the i-th block of Gaussians in frame b."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = n < count
    frame = frames + tl.program_id(1) * SIZE
    d, f = tl.arange(0, WIDTH), tl.arange(0, HIDDEN)
    columns, wide = tl.arange(0, COLUMNS), tl.arange(0, COLOURS)

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
    h = _normal(x + heard + tl.load(listened_bias + d)[None], tl.load(norm1 + d), tl.load(norm1_bias + d), WIDTH)
    inner = tl.dot(h, tl.load(ffn_in + d[:, None] * HIDDEN + f[None])) + tl.load(ffn_in_bias + f)[None]
    fed = tl.dot(tl.maximum(inner, 0.0), tl.load(ffn_out + f[:, None] * WIDTH + d[None]))
    h = _normal(h + fed + tl.load(ffn_out_bias + d)[None], tl.load(norm2 + d), tl.load(norm2_bias + d), WIDTH)
    h = tl.maximum(h, 0.0)

    # Read the offsets off.
    offsets = tl.zeros((BLOCK, COLUMNS), tl.float32)
    for head in tl.static_range(4):
        inner = tl.dot(h, tl.load(into + head * WIDTH * HIDDEN + d[:, None] * HIDDEN + f[None]))
        inner = tl.maximum(inner + tl.load(into_bias + head * HIDDEN + f)[None], 0.0)
        offsets += tl.dot(inner, tl.load(lean + head * HIDDEN * COLUMNS + f[:, None] * COLUMNS + columns[None]))
    offsets += tl.load(lean_bias + columns)[None]
    inner = tl.dot(h, tl.load(into + 4 * WIDTH * HIDDEN + d[:, None] * HIDDEN + f[None]))
    inner = tl.maximum(inner + tl.load(into_bias + 4 * HIDDEN + f)[None], 0.0)
    shade = tl.dot(inner, tl.load(colours + f[:, None] * COLOURS + wide[None])) + tl.load(colours_bias + wide)[None]
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
    row = tl.program_id(1) * length + n
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
    tl.store(opacities_out + row, opacity, mask=there)
