"""`phones`: what a mouth would do for this sound, at 50 Hz, whoever speaks and however loudly.

A small temporal convolution network over log mel energies, trained on hours of synthesized speech whose phones are
known (being/audio/phones_training, docs/phones.md). Its 32 numbers, all in [0, 1], are the posteriors of the 15 visemes
and 17 articulatory readings. Inference is plain numpy, that of live streams one kernel: their steps are too small for a
tensor library to pay.

The receptive field is finite: a step depends on 0.96 s before it and 57.5 ms after it, and on nothing else, so any span
can be computed anywhere. Where the network is sure that nobody speaks, or the sound is far below the loudest of the
last second, its answer is replaced by the answer to digital silence, so that the hum of a room does not move the mouth.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np

from being.audio.conv_stack import Conv, ConvStack
from being.audio.features import STEP, Array, FeatureExtractor, FeatureStream, padded_span, step_count
from being.audio.logmel import WINDOW, mel_frames
from being.audio.visemes import VISEMES
from being.errors import FormatError

ARTICULATORS = (
    "jaw", "lips_open", "lips_spread", "lips_round", "lips_closed", "lip_on_teeth", "teeth_together",
    "tongue_tip", "tongue_front", "tongue_out", "voiced", "level", "vowel", "nasal", "speaking", "moving", "stressed",
)  # fmt: skip
NAMES = (*VISEMES, *ARTICULATORS)  # what each of the WIDTH numbers is
WIDTH = len(NAMES)  # 32

BANDS = 40  # mel bands
HOP = STEP // 2  # samples between mel frames, 100 Hz
FRAME_LEAD = (WINDOW - HOP) // 2  # samples that mel frame j reads before 160 j
CHANNELS = 160
WEIGHTS = Path(__file__).parent / "weights" / "phones.safetensors"

# The silence gate: untouched below OPEN, exactly silence above SHUT (posterior of "sil").
GATE_OPEN, GATE_SHUT = 0.80, 0.97
# And by loudness against the loudest of the last second: untouched above FULL, exactly silence below NOTHING (dB).
# Breath, room and music between two words are no closures of a k, which is what the network may take them for.
LOUDNESS_FULL, LOUDNESS_NOTHING = -12.0, -26.0
RECENT = 46  # steps back that "the last second" reaches; what they read lies within the network's own left context
QUIETEST = 3e-4**2  # mean square (-70 dBFS) that counts as a loudest, so that dither does not


STEM = (
    Conv("stem.0", BANDS, CHANNELS, kernel=5, left=3),  # at 100 Hz
    Conv("stem.1", CHANNELS, CHANNELS, kernel=6, left=2, stride=2),  # 100 Hz -> 50 Hz
)
# Residual blocks at 50 Hz, x + W relu(conv(x)): the first looks one step ahead, the others only back.
BLOCKS = (
    Conv("blocks.0", CHANNELS, CHANNELS, kernel=3, left=1, residual=True),
    *(
        Conv(f"blocks.{k + 1}", CHANNELS, CHANNELS, kernel=3, left=2 * dilation, dilation=dilation, residual=True)
        for k, dilation in enumerate((1, 2, 4, 8, 1, 2, 4))
    ),
)


def _context() -> tuple[int, int]:
    """Samples (before, after) a step that the network reads, summed over its layers."""
    left = sum(conv.left for conv in BLOCKS) * 2 + STEM[1].left + STEM[0].left  # mel frames
    right = sum(conv.right for conv in BLOCKS) * 2 + STEM[1].right + STEM[0].right
    return left * HOP + FRAME_LEAD, right * HOP + (WINDOW - HOP - FRAME_LEAD)


LEFT_CONTEXT, RIGHT_CONTEXT = _context()  # 15,320 and 920 samples


def gated(answer: Array, silence: Array, power: Array) -> Array:
    """answer (..., n, WIDTH) -> the same, drawn to silence (WIDTH,) where nobody speaks.

    power : (..., n + RECENT + 3) mean squares of the sound's steps, from RECENT + 1 steps before the first answered
        one to two after the last.
    """
    if not answer.shape[-2]:
        return answer.astype(np.float32)
    sure = np.clip((GATE_SHUT - answer[..., :1]) / (GATE_SHUT - GATE_OPEN), 0.0, 1.0)
    smooth = (power[..., :-2] + power[..., 1:-1] + power[..., 2:]) / 3.0
    seconds = np.lib.stride_tricks.sliding_window_view(smooth, RECENT + 2, axis=-1)
    loudest = np.maximum(seconds.max(axis=-1), QUIETEST)
    decibels = 10.0 * np.log10(np.maximum(smooth[..., RECENT:-1] / loudest, 1e-9))
    loud = np.clip((decibels - LOUDNESS_NOTHING) / (LOUDNESS_FULL - LOUDNESS_NOTHING), 0.0, 1.0)[..., None]
    return (silence + sure * loud * (answer - silence)).astype(np.float32)


def step_powers(pcm: Array) -> Array:
    """pcm (..., n * STEP) -> (..., n) mean squares."""
    steps = pcm.reshape(*pcm.shape[:-1], -1, STEP)
    return np.square(steps, dtype=np.float64).mean(axis=-1).astype(np.float32)


class Phones(FeatureExtractor):
    """The extractor: see being.audio.features.FeatureExtractor for its methods."""

    name = "phones"
    width = WIDTH
    left_context = LEFT_CONTEXT
    right_context = RIGHT_CONTEXT

    def __init__(self, weights: str | Path = WEIGHTS) -> None:
        """Raises FormatError if the weights are missing, damaged, or of another network."""
        self.tensors = load_weights(Path(weights))
        # Inputs of every layer in endless silence, from which a stream starts, and the answer to it.
        self.rest: dict[str, Array] = {}
        x = np.zeros((1, BANDS), np.float32)
        for conv in (*STEM, *BLOCKS):
            self.rest[conv.name] = x
            x = self.layer(conv, np.repeat(x, (conv.kernel - 1) * conv.dilation + 1, axis=0))
        self.silence = self.head(x)[0]
        self.stack = ConvStack((*STEM, *BLOCKS), self.tensors)

    def __call__(self, pcm: Array, first: int = 0, count: int | None = None) -> Array:
        count = step_count(len(pcm)) - first if count is None else count
        if count <= 0:
            return np.zeros((0, WIDTH), np.float32)
        start = first * STEP
        span = padded_span(pcm, start - LEFT_CONTEXT, start + count * STEP + RIGHT_CONTEXT)
        x = mel_frames(span, HOP, BANDS)
        for conv in (*STEM, *BLOCKS):
            x = self.layer(conv, x)
        oldest = LEFT_CONTEXT - (RECENT + 1) * STEP
        power = step_powers(span[oldest : oldest + (count + RECENT + 3) * STEP])
        return gated(self.head(x), self.silence, power)

    def stream(self) -> FeatureStream:
        return PhonesStream(self)

    def push_all(self, streams: Sequence[FeatureStream], blocks: Sequence[Array]) -> list[Array]:
        """One product of matrices for all: a step is 2 MFLOP, less than reading the 4 MB of weights for it."""
        own = cast("Sequence[PhonesStream]", streams)
        alike: dict[Hashable, list[int]] = {}
        for index, (stream, block) in enumerate(zip(own, blocks, strict=True)):
            alike.setdefault(stream.shape(len(block)), []).append(index)
        steps: dict[int, Array] = {}
        for rows in alike.values():
            steps |= zip(
                rows, PhonesStream.push_together([own[r] for r in rows], [blocks[r] for r in rows]), strict=True
            )
        return [steps[index] for index in range(len(streams))]

    def layer(self, conv: Conv, x: Array) -> Array:
        """x (..., n, conv.inputs) -> the outputs (..., m, conv.outputs) for which every input is there."""
        weight, bias = self.tensors[f"{conv.name}.weight"], self.tensors[f"{conv.name}.bias"]
        count = max(0, (x.shape[-2] - (conv.kernel - 1) * conv.dilation - 1) // conv.stride + 1)
        y = np.empty((*x.shape[:-2], count, conv.outputs), np.float32)
        if not count:
            return y
        y[:] = bias
        rows = y.reshape(-1, conv.outputs)
        for k in range(conv.kernel):
            at = k * conv.dilation
            rows += (
                x[..., at : at + (count - 1) * conv.stride + 1 : conv.stride, :].reshape(-1, conv.inputs) @ weight[k]
            )
        np.maximum(y, 0.0, out=y)
        if conv.residual:
            mix, mix_bias = self.tensors[f"{conv.name}.mix.weight"], self.tensors[f"{conv.name}.mix.bias"]
            y = x[..., conv.left : conv.left + count, :] + (rows @ mix).reshape(y.shape) + mix_bias
        return y

    def head(self, x: Array) -> Array:
        """x (..., n, CHANNELS) -> (..., n, WIDTH), before the silence gate."""
        y = x.reshape(-1, CHANNELS) @ self.tensors["head.weight"] + self.tensors["head.bias"]
        visemes = np.exp(y[:, : len(VISEMES)] - y[:, : len(VISEMES)].max(axis=1, keepdims=True))
        visemes /= visemes.sum(axis=1, keepdims=True)
        articulators = 1.0 / (1.0 + np.exp(-np.clip(y[:, len(VISEMES) :], -30.0, 30.0)))
        return np.concatenate([visemes, articulators], axis=1).reshape(*x.shape[:-1], WIDTH)


class PhonesStream:
    """The same network fed as the sound arrives: every layer keeps the tail of its input, nothing is computed twice."""

    _WARM = 8  # silent steps fed before the start, more than the layers look ahead

    def __init__(self, phones: Phones) -> None:
        self._phones = phones
        self._reset()

    def _reset(self) -> None:
        self._tails, self._held = self._phones.stack.begun(self._phones.rest)
        self._pcm = np.zeros(self._WARM * STEP + FRAME_LEAD, np.float32)
        self._unmeasured = np.zeros(0, np.float32)  # sound of the step that is not complete
        self._power = np.zeros(RECENT + 1, np.float32)  # mean squares from RECENT + 1 steps before the next to emit
        self._received = 0
        self._emitted = 0
        # Frames enter from step -WARM on, and a layer that looks ahead answers for an earlier step: the stem for one
        # that begins 1 + 2 frames (rounded up to 2 steps) before, the first block for one more.
        self._skip = self._WARM + (STEM[0].right + STEM[1].right + 1) // 2 + sum(conv.right for conv in BLOCKS)

    def push(self, pcm: Array) -> Array:
        return self.push_together([self], [pcm])[0]

    def shape(self, samples: int) -> Hashable:
        """Streams for which this is the same can push so many samples together."""
        return samples, len(self._pcm), len(self._unmeasured), len(self._power), self._skip, self._held.tobytes()

    @staticmethod
    def push_together(streams: Sequence[PhonesStream], blocks: Sequence[Array]) -> list[Array]:
        """`push` of streams that are alike."""
        for stream, block in zip(streams, blocks, strict=True):
            stream._received += len(block)
        return _advance(streams, blocks)

    def flush(self) -> Array:
        wanted = step_count(self._received) - self._emitted
        steps = _advance([self], [np.zeros(RIGHT_CONTEXT + STEP, np.float32)])[0][:wanted]
        self._reset()
        return steps


def _advance(streams: Sequence[PhonesStream], blocks: Sequence[Array]) -> list[Array]:
    """The steps that are complete with the sound in blocks, stream by stream; all are alike."""
    phones, block = streams[0]._phones, np.stack(blocks).astype(np.float32, copy=False)
    sound = np.concatenate([np.stack([stream._unmeasured for stream in streams]), block], axis=1)
    whole = sound.shape[1] // STEP * STEP
    power = np.concatenate([np.stack([stream._power for stream in streams]), step_powers(sound[:, :whole])], axis=1)
    pcm = np.concatenate([np.stack([stream._pcm for stream in streams]), block], axis=1)
    frames = max(0, (pcm.shape[1] - WINDOW) // HOP + 1)
    tails, held = np.stack([stream._tails for stream in streams]), streams[0]._held.copy()
    steps = np.zeros((len(streams), 0, WIDTH), np.float32)
    skipped = 0
    if frames:
        mel = mel_frames(pcm[:, : (frames - 1) * HOP + WINDOW], HOP, BANDS)
        x = phones.stack(tails, held, mel)
        skipped = min(streams[0]._skip, x.shape[1])
        answer = phones.head(x[:, skipped:])
        steps = gated(answer, phones.silence, power[:, : answer.shape[1] + RECENT + 3])
    for row, stream in enumerate(streams):  # copies: a view would hold all the others' memory
        stream._unmeasured = sound[row, whole:].copy()
        stream._power = power[row, steps.shape[1] :].copy()
        stream._pcm = pcm[row, frames * HOP :].copy()
        stream._tails, stream._held = tails[row].copy(), held
        stream._skip -= skipped
        stream._emitted += steps.shape[1]
    return list(steps)


def layout() -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in the weights file. Convolutions are (kernel, inputs, outputs)."""
    shapes: dict[str, tuple[int, ...]] = {}
    for conv in (*STEM, *BLOCKS):
        shapes[f"{conv.name}.weight"] = (conv.kernel, conv.inputs, conv.outputs)
        shapes[f"{conv.name}.bias"] = (conv.outputs,)
    for conv in BLOCKS:
        shapes[f"{conv.name}.mix.weight"] = (CHANNELS, CHANNELS)
        shapes[f"{conv.name}.mix.bias"] = (CHANNELS,)
    return shapes | {"head.weight": (CHANNELS, WIDTH), "head.bias": (WIDTH,)}


@lru_cache(maxsize=4)
def load_weights(path: Path) -> dict[str, Array]:
    """The tensors of layout() as float32. Raises FormatError if the file is not that."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    remedy = "Remake it (docs/phones.md) or reinstall being"
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path} is not a readable safetensors file ({error})", remedy) from error
    for name, shape in layout().items():
        if name not in stored or stored[name].shape != shape:
            found = stored[name].shape if name in stored else "nothing"
            raise FormatError(f"{path}: {name} must have the shape {shape}, found {found}", remedy)
        if not np.isfinite(stored[name]).all():
            raise FormatError(f"{path}: {name} holds numbers that are not finite", remedy)
    return {name: stored[name].astype(np.float32) for name in layout()}
