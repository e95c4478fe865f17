"""Sample-rate conversion by a windowed sinc, whole or in chunks: the two agree, whatever the chunks.

Output sample n sits at input time n * rate_in / rate_out and is the sum over the input samples around it, weighted by a
Kaiser-windowed sinc whose cutoff is just below the smaller Nyquist frequency (a polyphase filter: Crochiere and Rabiner
1983). There is no delay: input and output sample 0 are the same instant.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

ZERO_CROSSINGS = 24  # of the sinc on each side
ROLL_OFF = 0.94  # cutoff as a fraction of the smaller Nyquist frequency
KAISER_BETA = 9.0  # about 90 dB of stop-band attenuation
_BLOCK = 8192  # output samples computed at once; bounds memory
_PHASES = 512  # filters computed at once; bounds memory
_KEPT_TAPS = 1 << 19  # a larger set of filters (rates with hardly a common divisor) is not kept for the next stream


def _filters(up: int, down: int) -> NDArray[np.float32]:
    """(up, 2 * half) taps; row p is the filter for outputs that fall p / up after an input sample."""
    return _kept_filters(up, down) if up * 2 * _half(up, down) <= _KEPT_TAPS else _made_filters(up, down)


@lru_cache(maxsize=16)
def _kept_filters(up: int, down: int) -> NDArray[np.float32]:
    return _made_filters(up, down)


def _made_filters(up: int, down: int) -> NDArray[np.float32]:
    scale = ROLL_OFF * min(1.0, up / down)  # cutoff in units of the input's Nyquist frequency
    half = _half(up, down)
    filters = np.empty((up, 2 * half), np.float32)
    for first in range(0, up, _PHASES):
        phases = np.arange(first, min(first + _PHASES, up))[:, None]
        offsets = np.arange(-half + 1, half + 1)[None, :] - phases / up  # input samples
        window = np.i0(KAISER_BETA * np.sqrt(np.clip(1.0 - (offsets / half) ** 2, 0.0, None))) / np.i0(KAISER_BETA)
        taps = scale * np.sinc(scale * offsets) * window
        filters[phases[:, 0]] = taps / taps.sum(axis=1, keepdims=True)  # every phase passes a constant unchanged
    return filters


def _half(up: int, down: int) -> int:
    return ceil(ZERO_CROSSINGS / (ROLL_OFF * min(1.0, up / down)))


class StreamResampler:
    """Converts a stream of chunks; concatenated, the answers equal the conversion of the whole.

    push(x (n,)) -> the output samples that are complete; flush() -> the rest (after the end is silence), then it starts
    anew.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        if rate_in <= 0 or rate_out <= 0:
            raise ValueError(f"sample rates must be positive, got {rate_in} and {rate_out}")
        divisor = gcd(rate_in, rate_out)
        self.up, self.down = rate_out // divisor, rate_in // divisor
        self.half = _half(self.up, self.down)
        self._taps: NDArray[np.float32] | None = None
        self._reset()

    def _reset(self) -> None:
        self._buffer = np.zeros(self.half - 1, np.float32)  # silence before the start
        self._buffer_start = -(self.half - 1)  # input index of _buffer[0]
        self._received = 0
        self._emitted = 0

    def push(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        x = np.asarray(x, np.float32)
        if self.up == self.down:
            self._received += len(x)
            return x.copy()
        self._received += len(x)
        self._buffer = np.concatenate([self._buffer, x])
        # Output n reads inputs up to floor(n * down / up) + half.
        last = self._received - 1 - self.half
        ready = 0 if last < 0 else (last * self.up + self.up - 1) // self.down + 1
        return self._emit(ready)

    def flush(self) -> NDArray[np.float32]:
        if self.up == self.down:
            self._reset()
            return np.zeros(0, np.float32)
        total = ceil(self._received * self.up / self.down)
        self._buffer = np.concatenate([self._buffer, np.zeros(self.half + 1, np.float32)])
        rest = self._emit(total)
        self._reset()
        return rest

    def _emit(self, until: int) -> NDArray[np.float32]:
        if until <= self._emitted:
            return np.zeros(0, np.float32)
        if self._taps is None:
            self._taps = _filters(self.up, self.down)
        taps = self._taps
        out = np.empty(until - self._emitted, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._buffer, 2 * self.half)
        for first in range(self._emitted, until, _BLOCK):
            n = np.arange(first, min(first + _BLOCK, until), dtype=np.int64)
            at, phase = np.divmod(n * self.down, self.up)
            rows = at - self.half + 1 - self._buffer_start
            out[n - self._emitted] = np.einsum("nk,nk->n", windows[rows], taps[phase])
        self._emitted = until
        keep = (until * self.down) // self.up - self.half + 1 - self._buffer_start
        if keep > 0:
            self._buffer = self._buffer[keep:]
            self._buffer_start += keep
        return out


def resample(x: NDArray[np.float32], rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """x (n,) at rate_in -> (ceil(n * rate_out / rate_in),) at rate_out."""
    stream = StreamResampler(rate_in, rate_out)
    return np.concatenate([stream.push(x), stream.flush()])
