"""Conditions of a frame to what `deformation` hands its Gaussians, in one kernel: tokens, then the layer folded.

The plain twin is `DeformationNetwork.condition_tokens`, `SpatialAudioAttention.fold` and `pose_words`: a hundred small
launches, or a third of a millisecond of numpy a frame. One program does a frame: 0.25M multiply-adds, 200 KB of
weights (they stay in the GPU's cache) and the context of 16 KB read, 8 KB written. What convolutions shift against
itself goes through a scratch of 40 KB a frame.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from being.model.audio_net import AUDIO_CODE
from being.model.gpu import words as words_of
from being.model.gpu.packing import COLUMNS, MOST_WINDOWS, NetworkShape, padded, weight_places
from being.model.network import EYE_CODE

POSES = 32  # numbers: head [R|t], torso [R|t], their quaternions
SCRATCH = 10240  # numbers of a frame: 128 x 32, 64 x 32, 32 x 64, 16 x 32, five times 16 x 16

_PRECISION = tl.constexpr("tf32x3")  # of products: as exact as float32, on tensor cores
_WARPS = 8
_SLOPE = tl.constexpr(0.02)  # of `AudioNet` and `AudioAttention`
_WIDENS = tl.constexpr(16.0)
_COLUMNS = tl.constexpr(COLUMNS)
_HEAD, _TORSO = tl.constexpr(words_of.HEAD), tl.constexpr(words_of.TORSO)
_EYE, _EMOTION = tl.constexpr(words_of.EYE), tl.constexpr(words_of.EMOTION)

_PARTS = (
    "RECORDED_COUNT", "CONV0", "CONV0_BIAS", "CONV1", "CONV1_BIAS", "CONV2", "CONV2_BIAS", "CONV3", "CONV3_BIAS",
    "CODE0", "CODE0_BIAS", "CODE1", "CODE1_BIAS", "SCORE0", "SCORES", "SCORE_BIAS", "SHARES", "SHARES_BIAS",
    "AUDIO_INTO", "AUDIO_OUT", "EYE_INTO", "EYE_OUT", "CAMERA_INTO", "CAMERA_OUT", "EMOTION_INTO", "EMOTION_OUT",
    "NULL", "KEY", "KEY_BIAS", "VALUE", "VALUE_BIAS", "QUERY", "QUERY_BIAS", "OUTPUT",
)  # fmt: skip


def folded_size(shape: NetworkShape) -> int:
    """Numbers of a frame that `deformation` reads: poses, score bias, score vectors, output vectors."""
    return POSES + COLUMNS + 2 * COLUMNS * shape.width


def fold_conditions(words: Tensor, anchor: Tensor, shape: NetworkShape, folded: Tensor, scratch: Tensor) -> None:
    """Fold B frames.

    words : (B, `word_count`), see `being.model.gpu.words`. anchor : what avatars stand apart from.
    folded : (B, `folded_size`), written; what no token has must hold zero. scratch : (B, SCRATCH).
    """
    places = weight_places(shape)
    support = places["RECORDED"][0] if shape.support else -1
    _fold_conditions[(len(words),)](
        words, words.view(torch.int64), anchor, folded, scratch,
        WORDS=words.shape[1], CONTEXT=words_of.context_place(shape), SIZE=folded.shape[1], SCRATCH=SCRATCH,
        POSES=POSES, ROWS=MOST_WINDOWS, CODE=AUDIO_CODE, EYE_CODE=EYE_CODE,
        WIDTH=shape.width, HEADS=shape.heads, TOKENS=len(shape.tokens), WINDOWS=shape.windows,
        AUDIO=shape.audio_width, AUDIO_ROOM=padded(shape.audio_width, 32), EMOTIONS=shape.emotions,
        AUDIO_AT=shape.place("audio"), EYE_AT=shape.place("eye"), CAMERA_AT=shape.place("camera"),
        NULL_AT=shape.place("null"), EMOTION_AT=shape.place("emotion"), RECORDED=support,
        **{name: places[name][0] for name in _PARTS}, num_warps=_WARPS,
    )  # fmt: skip


@triton.jit
def _leaky(x):  # type: ignore[no-untyped-def]
    return tl.maximum(x, _SLOPE * x)


@triton.jit
def _convolved(  # type: ignore[no-untyped-def]
    source, weight, bias, WINDOWS: tl.constexpr, LENGTH: tl.constexpr, STEPS: tl.constexpr, STRIDE: tl.constexpr,
    IN: tl.constexpr, IN_ROOM: tl.constexpr, OUT: tl.constexpr, ROWS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """A convolution of width 3 and padding 1 over windows (WINDOWS, LENGTH, IN): (ROWS, OUT), STEPS of each window."""
    row, o, i = tl.arange(0, ROWS), tl.arange(0, OUT), tl.arange(0, CHUNK)
    window, step = row // STEPS, row % STEPS
    total = tl.zeros((ROWS, OUT), tl.float32) + tl.load(bias + o)[None]
    for tap in range(3):
        at = STRIDE * step + tap - 1
        there = (at >= 0) & (at < LENGTH) & (window < WINDOWS)
        for first in range(0, IN_ROOM, CHUNK):
            channel = first + i
            x = tl.load(
                source + (window * LENGTH + at)[:, None] * IN + channel[None],
                mask=there[:, None] & (channel < IN)[None],
                other=0.0,
            )
            w = tl.load(weight + (tap * IN_ROOM + channel)[:, None] * OUT + o[None])
            total = tl.dot(x, w, total, input_precision=_PRECISION)
    return _leaky(total)


@triton.jit
def _kept(values, scratch, ROWS: tl.constexpr, OUT: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write (ROWS, OUT) where the whole program reads it afterwards."""
    tl.store(scratch + tl.arange(0, ROWS)[:, None] * OUT + tl.arange(0, OUT)[None], values)
    tl.debug_barrier()


@triton.jit
def _mapped(x, weight, IN: tl.constexpr, OUT: tl.constexpr):  # type: ignore[no-untyped-def]
    """x (IN,) times the matrix at an address: (OUT,)."""
    i, o = tl.arange(0, IN), tl.arange(0, OUT)
    return tl.sum(x[:, None] * tl.load(weight + i[:, None] * OUT + o[None]), 0)


@triton.jit
def _token(condition, into, out, IN: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """`ConditionMlp`."""
    return _mapped(tl.maximum(_mapped(condition, into, IN, WIDTH), 0.0), out, WIDTH, WIDTH)


@triton.jit
def _supported(token, recorded, header, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """`clamp_to_support`; the header holds how many tokens are recorded, and the radius."""
    count, radius = tl.load(header).to(tl.int32), tl.load(header + 1)
    d, s = tl.arange(0, WIDTH), tl.arange(0, 16)
    nearest = float("inf")
    for first in range(0, count, 16):
        there = first + s < count
        apart = token[None] - tl.load(recorded + (first + s)[:, None] * WIDTH + d[None], mask=there[:, None], other=0.0)
        nearest = tl.minimum(nearest, tl.min(tl.where(there, tl.sum(apart * apart, 1), float("inf")), 0))
    total, middle = 0.0, tl.zeros((WIDTH,), tl.float32)
    for first in range(0, count, 16):
        there = first + s < count
        one = tl.load(recorded + (first + s)[:, None] * WIDTH + d[None], mask=there[:, None], other=0.0)
        apart = tl.sum((token[None] - one) * (token[None] - one), 1)
        share = tl.where(there, tl.exp((nearest - apart) / (radius * radius + nearest / _WIDENS)), 0.0)
        total += tl.sum(share, 0)
        middle += tl.sum(share[:, None] * one, 0)
    middle = middle / tl.maximum(total, 1e-30)
    away = token - middle
    length = tl.sqrt(tl.sum(away * away, 0))
    held = middle + away * (radius / tl.maximum(length, 1e-30))
    return tl.where((count > 0) & (length > radius), held, token)


@triton.jit
def _quaternion(pose):  # type: ignore[no-untyped-def]
    """w, x, y, z of the rotation [R|t] at an address; from the largest of the four, the others follow well."""
    a, b, c = tl.load(pose), tl.load(pose + 1), tl.load(pose + 2)
    d, e, f = tl.load(pose + 4), tl.load(pose + 5), tl.load(pose + 6)
    g, h, i = tl.load(pose + 8), tl.load(pose + 9), tl.load(pose + 10)
    ww, xx, yy, zz = 1 + a + e + i, 1 + a - e - i, 1 - a + e - i, 1 - a - e + i  # four times the squares
    most = tl.maximum(tl.maximum(ww, xx), tl.maximum(yy, zz))
    by_w, by_x, by_y = ww == most, xx == most, yy == most
    w = tl.where(by_w, ww, tl.where(by_x, h - f, tl.where(by_y, c - g, d - b)))
    x = tl.where(by_w, h - f, tl.where(by_x, xx, tl.where(by_y, d + b, c + g)))
    y = tl.where(by_w, c - g, tl.where(by_x, d + b, tl.where(by_y, yy, h + f)))
    z = tl.where(by_w, d - b, tl.where(by_x, c + g, tl.where(by_y, h + f, zz)))
    long = 1.0 / tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), 1e-12)
    return w * long, x * long, y * long, z * long


@triton.jit
def _pose_words(words, out):  # type: ignore[no-untyped-def]
    """Both poses, and their quaternions: the torso's on the head's side, the short way between them."""
    n = tl.arange(0, 16)
    tl.store(out + n, tl.load(words + _HEAD + n), mask=n < 12)
    tl.store(out + 12 + n, tl.load(words + _TORSO + n), mask=n < 12)
    w, x, y, z = _quaternion(words + _HEAD)
    tw, tx, ty, tz = _quaternion(words + _TORSO)
    side = tl.where(w * tw + x * tx + y * ty + z * tz < 0, -1.0, 1.0)
    tl.store(out + 24, w)
    tl.store(out + 25, x)
    tl.store(out + 26, y)
    tl.store(out + 27, z)
    tl.store(out + 28, side * tw)
    tl.store(out + 29, side * tx)
    tl.store(out + 30, side * ty)
    tl.store(out + 31, side * tz)


@triton.jit
def _fold_conditions(  # type: ignore[no-untyped-def]
    words, numbers, anchor, folded, scratch,
    WORDS: tl.constexpr, CONTEXT: tl.constexpr, SIZE: tl.constexpr, SCRATCH: tl.constexpr, POSES: tl.constexpr,
    ROWS: tl.constexpr, CODE: tl.constexpr, EYE_CODE: tl.constexpr,
    WIDTH: tl.constexpr, HEADS: tl.constexpr, TOKENS: tl.constexpr, WINDOWS: tl.constexpr, AUDIO: tl.constexpr,
    AUDIO_ROOM: tl.constexpr, EMOTIONS: tl.constexpr, AUDIO_AT: tl.constexpr, EYE_AT: tl.constexpr,
    CAMERA_AT: tl.constexpr, NULL_AT: tl.constexpr, EMOTION_AT: tl.constexpr, RECORDED: tl.constexpr,
    RECORDED_COUNT: tl.constexpr, CONV0: tl.constexpr, CONV0_BIAS: tl.constexpr, CONV1: tl.constexpr,
    CONV1_BIAS: tl.constexpr, CONV2: tl.constexpr, CONV2_BIAS: tl.constexpr, CONV3: tl.constexpr,
    CONV3_BIAS: tl.constexpr, CODE0: tl.constexpr, CODE0_BIAS: tl.constexpr, CODE1: tl.constexpr,
    CODE1_BIAS: tl.constexpr, SCORE0: tl.constexpr, SCORES: tl.constexpr, SCORE_BIAS: tl.constexpr,
    SHARES: tl.constexpr, SHARES_BIAS: tl.constexpr, AUDIO_INTO: tl.constexpr, AUDIO_OUT: tl.constexpr,
    EYE_INTO: tl.constexpr, EYE_OUT: tl.constexpr, CAMERA_INTO: tl.constexpr, CAMERA_OUT: tl.constexpr,
    EMOTION_INTO: tl.constexpr, EMOTION_OUT: tl.constexpr, NULL: tl.constexpr, KEY: tl.constexpr,
    KEY_BIAS: tl.constexpr, VALUE: tl.constexpr, VALUE_BIAS: tl.constexpr, QUERY: tl.constexpr,
    QUERY_BIAS: tl.constexpr, OUTPUT: tl.constexpr,
):  # fmt: skip
    """Program b: frame b."""
    frame = tl.program_id(0)
    words += frame * WORDS
    out = folded + frame * SIZE
    scratch += frame * SCRATCH
    net = anchor + 16 * tl.load(numbers + frame * (WORDS // 2))
    d, t = tl.arange(0, WIDTH), tl.arange(0, 16)
    _pose_words(words, out)

    tokens = tl.zeros((16, WIDTH), tl.float32)
    if AUDIO_AT >= 0:
        x = _convolved(
            words + CONTEXT, net + CONV0, net + CONV0_BIAS, WINDOWS, 16, 8, 2, AUDIO, AUDIO_ROOM, 32, 128, 32
        )
        _kept(x, scratch, 128, 32)
        x = _convolved(scratch, net + CONV1, net + CONV1_BIAS, ROWS, 8, 4, 2, 32, 32, 32, 64, 32)
        _kept(x, scratch + 4096, 64, 32)
        x = _convolved(scratch + 4096, net + CONV2, net + CONV2_BIAS, ROWS, 4, 2, 2, 32, 32, 64, 32, 32)
        _kept(x, scratch + 6144, 32, 64)
        x = _convolved(scratch + 6144, net + CONV3, net + CONV3_BIAS, ROWS, 2, 1, 2, 64, 64, 64, 16, 32)
        wide, narrow = tl.arange(0, 64), tl.arange(0, CODE)
        weight = tl.load(net + CODE0 + wide[:, None] * 64 + wide[None])
        x = _leaky(tl.dot(x, weight, input_precision=_PRECISION) + tl.load(net + CODE0_BIAS + wide)[None])
        weight = tl.load(net + CODE1 + wide[:, None] * CODE + narrow[None])
        codes = tl.dot(x, weight, input_precision=_PRECISION) + tl.load(net + CODE1_BIAS + narrow)[None]
        # Weigh the windows.
        here = scratch + 8192
        _kept(codes, here, 16, CODE)
        x = _convolved(here, net + SCORE0, net + SCORE_BIAS, 1, WINDOWS, 16, 1, CODE, CODE, 16, 16, 16)
        here += 512
        for layer in range(4):
            _kept(x, here, 16, 16)
            weight_at, bias_at = net + SCORES + layer * 768, net + SCORE_BIAS + (layer + 1) * 16
            x = _convolved(here, weight_at, bias_at, 1, WINDOWS, 16, 1, 16, 16, 16, 16, 16)
            here += 256
        score = tl.where(t < WINDOWS, tl.sum(tl.where((t == 0)[None], x, 0.0), 1), 0.0)
        logits = tl.where(t < WINDOWS, _mapped(score, net + SHARES, 16, 16) + tl.load(net + SHARES_BIAS + t), -1e30)
        share = tl.exp(logits - tl.max(logits, 0))
        share = share / tl.sum(share, 0)
        token = _token(tl.sum(share[:, None] * codes, 0), net + AUDIO_INTO, net + AUDIO_OUT, CODE, WIDTH)
        if RECORDED >= 0:
            token = _supported(token, net + RECORDED, net + RECORDED_COUNT, WIDTH)
        tokens = tl.where((t == AUDIO_AT)[:, None], token[None], tokens)
    if EYE_AT >= 0:
        code = tl.load(words + _EYE + tl.arange(0, EYE_CODE))
        token = _token(code, net + EYE_INTO, net + EYE_OUT, EYE_CODE, WIDTH)
        tokens = tl.where((t == EYE_AT)[:, None], token[None], tokens)
    if CAMERA_AT >= 0:
        turned = tl.where(t < 9, (t % 3) * 4 + t // 3, (t - 9) * 4 + 3)
        code = tl.load(words + _HEAD + turned, mask=t < 12, other=0.0)
        token = _token(code, net + CAMERA_INTO, net + CAMERA_OUT, 16, WIDTH)
        tokens = tl.where((t == CAMERA_AT)[:, None], token[None], tokens)
    if EMOTION_AT >= 0:
        state = tl.arange(0, 64)
        code = tl.load(words + _EMOTION + state, mask=state < EMOTIONS, other=0.0)
        token = _token(code, net + EMOTION_INTO, net + EMOTION_OUT, 64, WIDTH)
        tokens = tl.where((t == EMOTION_AT)[:, None], token[None], tokens)
    if NULL_AT >= 0:
        tokens = tl.where((t == NULL_AT)[:, None], tl.load(net + NULL + d)[None], tokens)

    # Fold the layer's projections in: see `being.model.attention`.
    square = d[:, None] * WIDTH + d[None]
    keys = tl.dot(tokens, tl.load(net + KEY + square), input_precision=_PRECISION) + tl.load(net + KEY_BIAS + d)[None]
    values = tl.dot(tokens, tl.load(net + VALUE + square), input_precision=_PRECISION)
    values += tl.load(net + VALUE_BIAS + d)[None]
    there = (t < TOKENS)[:, None] & (d >= 0)[None]
    scores = out + POSES + _COLUMNS
    outputs = scores + _COLUMNS * WIDTH
    query_bias = tl.load(net + QUERY_BIAS + d)[None]
    for head in tl.static_range(HEADS):
        mine = (d // (WIDTH // HEADS) == head)[None]
        key, value = tl.where(mine, keys, 0.0), tl.where(mine, values, 0.0)
        pair = head * TOKENS + t
        tl.store(out + POSES + pair, tl.sum(key * query_bias, 1), mask=t < TOKENS)
        score = tl.dot(key, tl.load(net + QUERY + square), input_precision=_PRECISION)
        tl.store(scores + d[None] * _COLUMNS + pair[:, None], score, mask=there)
        heard = tl.dot(value, tl.load(net + OUTPUT + square), input_precision=_PRECISION)
        tl.store(outputs + pair[:, None] * WIDTH + d[None], heard, mask=there)
