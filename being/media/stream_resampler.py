"""Sample-rate conversion of live sound in C (FFmpeg's libswresample through PyAV).

Output sample n sits at input time n * rate_in / rate_out, as in `being.audio.resample`, whose slow twin it is: there is
no delay between input and output sample 0, and any chunking gives the same samples, bit for bit. At the very start and
end libswresample mirrors the signal where ours takes silence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

NOTHING = np.zeros(0, np.float32)


class StreamResampler:
    """Converts a mono stream of chunks.

    push(x (n,)) -> the output samples that are complete; flush() -> the rest, so that all of it is
    ceil(n * rate_out / rate_in) samples, then it starts anew. At equal rates sound passes as it is.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        if rate_in <= 0 or rate_out <= 0:
            raise ValueError(f"sample rates must be positive, got {rate_in} and {rate_out}")
        self._rate_in, self._rate_out = rate_in, rate_out
        self._restart()

    def _restart(self) -> None:
        from av.audio.resampler import AudioResampler

        self._received = self._emitted = 0
        same = self._rate_in == self._rate_out
        self._resampler = None if same else AudioResampler("flt", "mono", self._rate_out)

    def push(self, x: FloatArray) -> FloatArray:
        if self._resampler is None:
            return np.array(x, np.float32)
        if not len(x):
            return NOTHING
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(x, np.float32)[None], "flt", "mono")
        frame.sample_rate = self._rate_in
        frame.pts = self._received
        self._received += len(x)
        return self._made(frame)

    def flush(self) -> FloatArray:
        if self._resampler is None:
            return NOTHING
        rest = self._made(None) if self._received else NOTHING
        missing = -(-self._received * self._rate_out // self._rate_in) - self._emitted
        self._restart()
        return np.pad(rest, (0, missing)) if missing > 0 else rest[: len(rest) + missing]

    def _made(self, frame: object) -> FloatArray:
        assert self._resampler is not None
        blocks = [block.to_ndarray()[0] for block in self._resampler.resample(frame)]  # type: ignore[arg-type]
        made = blocks[0] if len(blocks) == 1 else np.concatenate(blocks) if blocks else NOTHING
        self._emitted += len(made)
        return made
