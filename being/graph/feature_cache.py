"""Per-session feature cache: encodes only the samples added since the last request.

A request carries a second and a half of sound for 40 ms of pictures, so that any replica can encode it. The replica
that encoded the request before finds most of that sound again, and feeds the extractor's stream what is new. Whether it
is the same sound is compared, not assumed: the answer is that of the request alone, whatever came before.
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
KEPT_STEPS = CONTEXT_STEPS + 24 * STEPS_PER_FRAME  # for requests of up to 25 frames


@dataclass(eq=False)
class _Entry:
    """One session's sound: pcm from a request's start, the stream that encodes it, and the steps it gave last."""

    extractor: FeatureExtractor
    first: int
    pcm: FloatArray
    stream: FeatureStream
    steps: FloatArray
    lock: threading.Lock = field(default_factory=threading.Lock)

    def new_sound(self, first: int, pcm: FloatArray) -> FloatArray | None:
        """What of a request's sound is new; None where it does not go on from here. first: not before this entry's."""
        known = self.pcm[FRAME_SAMPLES * (first - self.first) :]
        if not len(known) or len(known) > len(pcm) or not np.array_equal(known, pcm[: len(known)]):
            return None
        return pcm[len(known) :]

    def last(self, count: int) -> FloatArray | None:
        """The last steps; None where there are not so many."""
        return self.steps[-count:] if len(self.steps) >= count else None


class FeatureCache:
    """Feature steps by session; the one asked for least recently is forgotten. Safe to call from several threads."""

    def __init__(self, sessions: int = SESSIONS) -> None:
        self._most = sessions
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def steps(
        self, session: str, extractor: FeatureExtractor, first: int, pcm: FloatArray, count: int
    ) -> FloatArray | None:
        """The last `count` feature steps that the sound of a request is enough for, (count, D).

        Parameters
        ----------
        first : the request's first frame; requests of one session are compared by it.
        pcm : (S,) all the request's sound, which must begin at a feature step.
        count : at most KEPT_STEPS.

        Returns
        -------
        None where the request is older than what is remembered, or its stream has not given so many steps: such a
        request is to be encoded by itself.
        """
        with self._lock:
            entry = self._entries.get(session)
            if entry is not None:
                self._entries.move_to_end(session)
        if entry is not None and entry.extractor is extractor:
            with entry.lock:
                if first < entry.first:
                    return None
                new = entry.new_sound(first, pcm)
                if new is not None:
                    self._go_on(session, entry, new)
                    entry.first, entry.pcm = first, pcm
                    return entry.last(count)
        stream = extractor.stream()
        entry = _Entry(extractor, first, pcm, stream, stream.push(pcm)[-KEPT_STEPS:])
        with self._lock:
            self._entries[session] = entry
            self._entries.move_to_end(session)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        return entry.last(count)

    def _go_on(self, session: str, entry: _Entry, new: FloatArray) -> None:
        if not len(new):
            return
        try:
            entry.steps = np.concatenate([entry.steps, entry.stream.push(new)])[-KEPT_STEPS:]
        except BaseException:  # nobody knows what its stream has taken in
            with self._lock:
                self._entries.pop(session, None)
            raise
