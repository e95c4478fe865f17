"""What a session's last span came to, so that its next one costs its new sound only.

A span carries a second and a half of sound for 40 ms of pictures, so that any replica can encode it. The replica that
encoded the span before finds most of that sound again, and feeds the extractor's stream what is new. Whether it is the
same sound is looked at, not believed: the answer is that of the span alone, whatever came before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from being.audio.features import STEPS_PER_FRAME, FeatureExtractor, FeatureStream
from being.live.requests import CONTEXT_STEPS, FRAME_SAMPLES

FloatArray = npt.NDArray[np.float32]

SESSIONS = 256  # remembered; about 150 kB each
KEPT_STEPS = CONTEXT_STEPS + 24 * STEPS_PER_FRAME  # for spans of up to 25 frames


@dataclass(eq=False)
class _Line:
    """One session's sound: pcm from a span's start, the stream that heard it, and the steps it gave last."""

    extractor: FeatureExtractor
    first: int
    pcm: FloatArray
    stream: FeatureStream
    steps: FloatArray
    lock: threading.Lock = field(default_factory=threading.Lock)

    def new_sound(self, first: int, pcm: FloatArray) -> FloatArray | None:
        """What of a span's sound is new; None where it does not go on from here. first: not before this line's."""
        heard = self.pcm[FRAME_SAMPLES * (first - self.first) :]
        if not len(heard) or len(heard) > len(pcm) or not np.array_equal(heard, pcm[: len(heard)]):
            return None
        return pcm[len(heard) :]

    def last(self, count: int) -> FloatArray | None:
        """The last steps; None where there are not so many."""
        return self.steps[-count:] if len(self.steps) >= count else None


class FeatureCache:
    """Steps of spans, by session; the one heard of least recently is forgotten. Safe to call from several threads."""

    def __init__(self, sessions: int = SESSIONS) -> None:
        self._most = sessions
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._lock = threading.Lock()

    def steps(
        self, session: str, extractor: FeatureExtractor, first: int, pcm: FloatArray, count: int
    ) -> FloatArray | None:
        """The last `count` feature steps that the sound of a span is enough for, (count, D).

        Parameters
        ----------
        first : the span's first frame; spans of one session are compared by it.
        pcm : (S,) all the span's sound, which must begin at a feature step.
        count : at most KEPT_STEPS.

        Returns
        -------
        None where the span is older than what is remembered, or its stream has not given so many steps: such a span
        is to be encoded by itself.
        """
        with self._lock:
            line = self._lines.get(session)
            if line is not None:
                self._lines.move_to_end(session)
        if line is not None and line.extractor is extractor:
            with line.lock:
                if first < line.first:
                    return None
                new = line.new_sound(first, pcm)
                if new is not None:
                    self._go_on(session, line, new)
                    line.first, line.pcm = first, pcm
                    return line.last(count)
        stream = extractor.stream()
        line = _Line(extractor, first, pcm, stream, stream.push(pcm)[-KEPT_STEPS:])
        with self._lock:
            self._lines[session] = line
            self._lines.move_to_end(session)
            while len(self._lines) > self._most:
                self._lines.popitem(last=False)
        return line.last(count)

    def _go_on(self, session: str, line: _Line, new: FloatArray) -> None:
        if not len(new):
            return
        try:
            line.steps = np.concatenate([line.steps, line.stream.push(new)])[-KEPT_STEPS:]
        except BaseException:  # nobody knows what its stream has heard
            with self._lock:
                self._lines.pop(session, None)
            raise
