"""All convolutions of a stack for many streams in one call: a numba kernel, which leaves the interpreter to others.

A live step of a stream is a few rows a layer. In numpy that is 250 calls of a microsecond each, between which every
other thread of the renderer wants the interpreter; here it is one, and the products of matrices are all that is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from being.raster.cpu.jit import CHECKED_MATH, kernel

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Conv:
    """One convolution over time. Output t reads inputs stride * t - left + dilation * {0 .. kernel - 1}."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    left: int
    dilation: int = 1
    stride: int = 1
    residual: bool = False  # x + W relu(conv(x)) in place of relu(conv(x))

    @property
    def right(self) -> int:
        """Inputs read after the last of the output's own ones (its own are stride * t .. stride * t + stride - 1)."""
        return (self.kernel - 1) * self.dilation - self.left - (self.stride - 1)

    @property
    def history(self) -> int:
        """Inputs that a stream keeps when it starts, so that its first output is that of its first input."""
        return (self.kernel - 1) * self.dilation

    @property
    def most_kept(self) -> int:
        """Inputs that may be left over for the next call."""
        return self.history + self.stride - 1


class ConvStack:
    """Layers as one kernel, with what each stream has to remember between two calls as one row of numbers.

    Parameters
    ----------
    convs : the layers, each taking what the one before gives.
    tensors : NAME.weight (kernel, inputs, outputs) and NAME.bias (outputs,); of residual ones NAME.mix.weight
        (outputs, outputs) and NAME.mix.bias too.

    Attributes
    ----------
    state_size : numbers a stream remembers.
    """

    def __init__(self, convs: Sequence[Conv], tensors: Mapping[str, npt.NDArray[np.floating[Any]]]) -> None:
        self._convs = tuple(convs)
        numbers: list[Floats] = []
        plan, at, state = [], 0, 0
        for conv in convs:
            names = ["weight", "bias", *(["mix.weight", "mix.bias"] if conv.residual else [])]
            places = []
            for name in names:
                part = np.asarray(tensors[f"{conv.name}.{name}"], np.float32).reshape(-1)
                places.append(at)
                numbers.append(part)
                at += len(part)
            places += [0] * (4 - len(places))
            shape = (conv.inputs, conv.outputs, conv.kernel, conv.dilation, conv.stride, conv.left, conv.residual)
            plan.append([*map(int, shape), state, *places])
            state += conv.most_kept * conv.inputs
        self.state_size = state
        self._plan = np.array(plan, np.int64)
        self._numbers = np.concatenate(numbers)

    def begun(self, rest: Mapping[str, Floats]) -> tuple[Floats, npt.NDArray[np.int64]]:
        """State (state_size,) of a stream that has had the input `rest` (1, inputs) of each layer for ever, and the
        inputs it holds of each, (L,).
        """
        state = np.zeros(self.state_size, np.float32)
        for conv, row in zip(self._convs, self._plan, strict=True):
            kept = np.repeat(rest[conv.name], conv.history, axis=0).reshape(-1)
            state[row[7] : row[7] + len(kept)] = kept
        return state, np.array([conv.history for conv in self._convs], np.int64)

    def __call__(self, states: Floats, held: npt.NDArray[np.int64], x: Floats) -> Floats:
        """Outputs (B, m, outputs of the last layer) that are complete with inputs x (B, n, inputs of the first).

        states : (B, state_size) of streams that hold alike, `held` (L,); both are brought up to date in place.
        """
        return _convolved(states, held, np.ascontiguousarray(x, np.float32), self._plan, self._numbers)  # type: ignore[no-any-return]


@kernel(CHECKED_MATH)
def _convolved(states, held, x, plan, numbers):  # type: ignore[no-untyped-def]
    streams = x.shape[0]
    for layer in range(plan.shape[0]):
        inputs, outputs, taps, dilation, stride, left, residual, state_at = plan[layer, :8]
        weight_at, bias_at, mix_at, mix_bias_at = plan[layer, 8:]
        before = held[layer]
        rows = before + x.shape[1]
        whole = np.empty((streams, rows, inputs), np.float32)
        for stream in range(streams):
            kept = states[stream, state_at : state_at + before * inputs]
            whole[stream, :before] = kept.reshape(before, inputs)
            whole[stream, before:] = x[stream]
        count = max(0, (rows - (taps - 1) * dilation - 1) // stride + 1)
        columns = np.empty((streams * count, taps * inputs), np.float32)
        for stream in range(streams):
            for t in range(count):
                for k in range(taps):
                    columns[stream * count + t, k * inputs : (k + 1) * inputs] = whole[
                        stream, t * stride + k * dilation
                    ]
        weight = numbers[weight_at : weight_at + taps * inputs * outputs].reshape(taps * inputs, outputs)
        y = np.dot(columns, weight)
        for row in range(y.shape[0]):
            for channel in range(outputs):
                y[row, channel] = max(y[row, channel] + numbers[bias_at + channel], np.float32(0.0))
        if residual:
            y = np.dot(y, numbers[mix_at : mix_at + outputs * outputs].reshape(outputs, outputs))
            for stream in range(streams):
                for t in range(count):
                    for channel in range(outputs):
                        y[stream * count + t, channel] += (
                            whole[stream, left + t, channel] + numbers[mix_bias_at + channel]
                        )
        kept_rows = rows - count * stride
        for stream in range(streams):
            states[stream, state_at : state_at + kept_rows * inputs] = whole[stream, count * stride :].reshape(-1)
        held[layer] = kept_rows
        x = y.reshape(streams, count, outputs)
    return x
