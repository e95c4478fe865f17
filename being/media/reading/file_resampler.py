"""Sample rates of files, converted by libswresample through a filter graph of PyAV; aligned to the sample.

Output sample n is the sound at n / rate_out seconds, and there are ceil(n * rate_out / rate_in) of them. The low-pass
has the cutoff of the resampler of live streams (`being.audio.resample`), so that a file and a stream sound the same:
the two differ by less than -90 dB below 0.8 of the smaller Nyquist frequency.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPTIONS = {"filter_size": "64", "cutoff": "0.94", "filter_type": "kaiser", "kaiser_beta": "10"}

Array = NDArray[np.float32]


class FileResampler:
    """A stream of blocks (n, channels) at one rate -> blocks at another. Equal rates pass bit by bit."""

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        self._rate_in = rate_in
        self._channels = channels
        self._layout = {1: "mono", 2: "stereo"}[channels]
        self._received = 0
        self._graph = None if rate_in == rate_out else self._make_graph(rate_out)

    def push(self, block: Array) -> Array:
        """Returns what is complete."""
        if self._graph is None or not len(block):
            return block
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T), format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate_in, self._received, Fraction(1, self._rate_in)
        self._received += len(block)
        self._graph.push(frame)
        return self._pull()

    def flush(self) -> Array:
        """The rest; after the end is silence. Nothing may be pushed after it."""
        if self._graph is None or not self._received:
            return np.zeros((0, self._channels), np.float32)
        self._graph.push(None)
        return self._pull()

    def _make_graph(self, rate_out: int) -> Any:
        from av.filter import Graph

        graph = Graph()
        entry = graph.add(
            "abuffer",
            sample_rate=str(self._rate_in),
            sample_fmt="fltp",
            channel_layout=self._layout,
            time_base=f"1/{self._rate_in}",
        )
        converter = graph.add("aresample", osr=str(rate_out), osf="fltp", **OPTIONS)
        end = graph.add("abuffersink")
        entry.link_to(converter)
        converter.link_to(end)
        graph.configure()
        return graph

    def _pull(self) -> Array:
        import av

        assert self._graph is not None
        done: list[Array] = []
        while True:
            try:
                done.append(self._graph.pull().to_ndarray().T)
            except (av.error.BlockingIOError, av.error.EOFError):
                return np.concatenate(done) if done else np.zeros((0, self._channels), np.float32)
