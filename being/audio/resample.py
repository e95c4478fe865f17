"""Sample-rate conversion by a windowed sinc, whole or in chunks: the two agree bit for bit, whatever the chunks.

Output sample n sits at input time n * rate_in / rate_out and is the sum over the input samples around it, weighted by a
Kaiser-windowed sinc whose cutoff is just below the smaller Nyquist frequency (a polyphase filter: Crochiere and Rabiner
1983). There is no delay: input and output sample 0 are the same instant. Before the start and after the end is silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

ZERO_CROSSINGS = 24  # of the sinc on each side
ROLL_OFF = 0.94  # cutoff as a fraction of the smaller Nyquist frequency
KAISER_BETA = 9.0  # about 90 dB of stop-band attenuation
_PHASES = 512  # filters computed at once; bounds memory
_ROWS_COST = 60  # taps that take NumPy as long as a fourth axis does, for each output
_KEPT_TAPS = 1 << 19  # a larger set of filters (rates with hardly a common divisor) is not kept for the next stream


@dataclass(frozen=True, eq=False)
class FilterBank:
    """The filters of `up` outputs for each `down` inputs, laid out so that no input need be gathered.

    Output p of a period reads inputs from p * down // up on. With p = i * columns + j that is nearly i * a + j * b for
    whole a and b: so the windows of all periods are one strided view of the input, and each filter stands in its row,
    among zeros, where the little that is left over puts it.

    Attributes
    ----------
    filters : (rows, columns, width); zero past output `up`.
    strides : of the windows, in bytes of float32: from period to period, row to row, column to column, input to input.
    lead : inputs by which a period's first window begins before its first filter.
    slack : silence to put behind the input, so that windows end inside it where their filters do.
    """

    filters: NDArray[np.float32]
    strides: tuple[int, int, int, int]
    lead: int
    slack: NDArray[np.float32]

    def outputs(self, x: NDArray[np.float32], periods: int) -> NDArray[np.float32]:
        """Contiguous x, from the first window on -> (periods, rows * columns), each the same sum wherever it stands."""
        windows: NDArray[np.float32] = np.ndarray((periods, *self.filters.shape), np.float32, x, 0, self.strides)
        # A sum over the last axis takes the same order for any number of periods; BLAS would choose by the shape.
        made: NDArray[np.float32] = np.einsum("pijk,ijk->pij", windows, self.filters)
        return made.reshape(periods, -1)


def filter_bank(up: int, down: int) -> FilterBank:
    """Of a reduced ratio of rates."""
    return _kept_bank(up, down) if up * 2 * _half(up, down) <= _KEPT_TAPS else _made_bank(up, down)


@lru_cache(maxsize=16)
def _kept_bank(up: int, down: int) -> FilterBank:
    return _made_bank(up, down)


def _made_bank(up: int, down: int) -> FilterBank:
    columns, row_step, column_step = _layout(up, down)
    rows, p = -(-up // columns), np.arange(up)
    left_over = p * down // up - (p // columns * row_step + p % columns * column_step)
    taps, lead = 2 * _half(up, down), -int(left_over.min())
    filters = np.zeros((rows * columns, lead + taps + int(left_over.max())), np.float32)
    for first in range(0, up, _PHASES):
        some = p[first : first + _PHASES]
        places = (lead + left_over[some])[:, None] + np.arange(taps)
        filters[some[:, None], places] = _filters(up, down, some)
    filters.setflags(write=False)
    size, width = filters.itemsize, filters.shape[1]
    return FilterBank(
        filters.reshape(rows, columns, width),
        (down * size, row_step * size, column_step * size, size),
        lead,
        np.zeros((rows - 1) * row_step + (columns - 1) * column_step + width - lead - taps, np.float32),
    )


def _layout(up: int, down: int) -> tuple[int, int, int]:
    """Columns of a bank, inputs from row to row and from column to column: those that leave the least over."""
    ratio, columns = down / up, np.arange(1, up + 1)
    row_steps, column_step = np.round(columns * ratio).astype(np.int64), round(ratio)
    drift = np.abs(row_steps - columns * ratio) * (up / columns) + abs(column_step - ratio) * columns
    drift[:-1] += _ROWS_COST
    best = int(np.argmin(drift))
    return best + 1, int(row_steps[best]), column_step


def _filters(up: int, down: int, phases: NDArray[np.int64]) -> NDArray[np.float64]:
    """(phases, 2 * half) taps; a row is the filter for outputs that fall phase * down / up after an input sample."""
    scale = ROLL_OFF * min(1.0, up / down)  # cutoff in units of the input's Nyquist frequency
    half = _half(up, down)
    offsets = np.arange(-half + 1, half + 1)[None, :] - (phases * down % up / up)[:, None]  # input samples
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1.0 - (offsets / half) ** 2, 0.0, None))) / np.i0(KAISER_BETA)
    taps = scale * np.sinc(scale * offsets) * window
    return taps / taps.sum(axis=1, keepdims=True)  # every phase passes a constant unchanged


def _half(up: int, down: int) -> int:
    return ceil(ZERO_CROSSINGS / (ROLL_OFF * min(1.0, up / down)))


class StreamResampler:
    """Converts a mono stream of chunks; concatenated, the answers are the conversion of the whole, bit for bit.

    push(x (n,)) -> the output samples that are complete; flush() -> the rest, so that all of it is
    ceil(n * rate_out / rate_in) samples, then it starts anew. At equal rates sound passes as it is.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        if rate_in <= 0 or rate_out <= 0:
            raise ValueError(f"sample rates must be positive, got {rate_in} and {rate_out}")
        divisor = gcd(rate_in, rate_out)
        self.up, self.down = rate_out // divisor, rate_in // divisor
        self.half = _half(self.up, self.down)
        self._bank: FilterBank | None = None
        self._reset()

    def _reset(self) -> None:
        self._received = self._emitted = 0
        self._kept: NDArray[np.float32] | None = None  # from the first window of the next output's period on

    def push(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.up == self.down:
            return np.array(x, np.float32)
        x = np.asarray(x, np.float32)
        self._received += len(x)
        # Output n reads inputs up to floor(n * down / up) + half.
        return self._emit(x, -(-(self._received - self.half) * self.up // self.down))

    def flush(self) -> NDArray[np.float32]:
        if self.up == self.down:
            return np.zeros(0, np.float32)
        rest = self._emit(np.zeros(self.half, np.float32), -(-self._received * self.up // self.down))
        self._reset()
        return rest

    def _emit(self, x: NDArray[np.float32], until: int) -> NDArray[np.float32]:
        """Take x; returns the outputs before `until`, which are complete with it."""
        if self._bank is None:
            self._bank = filter_bank(self.up, self.down)
        bank = self._bank
        if self._kept is None:
            self._kept = np.zeros(bank.lead + self.half - 1, np.float32)  # silence before the start
        known = len(self._kept) + len(x)
        inputs = np.concatenate([self._kept, x, bank.slack])
        if until <= self._emitted:
            self._kept = inputs[:known]
            return np.zeros(0, np.float32)
        first = self._emitted // self.up  # period
        made = bank.outputs(inputs, -(-until // self.up) - first)[:, : self.up].reshape(-1)
        made = made[self._emitted - first * self.up : until - first * self.up]
        self._emitted = until
        self._kept = inputs[(until // self.up - first) * self.down : known].copy()
        return made


def resample(x: NDArray[np.float32], rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """x (n,) at rate_in -> (ceil(n * rate_out / rate_in),) at rate_out."""
    stream = StreamResampler(rate_in, rate_out)
    return np.concatenate([stream.push(x), stream.flush()])
