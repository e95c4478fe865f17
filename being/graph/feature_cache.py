"""Per-session feature cache: encodes only the samples added since the last request.

A request carries a second and a half of sound for 40 ms of pictures, so that any replica can encode it. The replica
that encoded the request before finds most of that sound again, and feeds the extractor's stream what is new. Whether it
is the same sound is compared, not assumed: the answer is that of the request alone, whatever came before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from being.audio.features import STEPS_PER_FRAME, FeatureExtractor
from being.live.requests import CONTEXT_STEPS, FRAME_SAMPLES

FloatArray = npt.NDArray[np.float32]

SESSIONS = 256  # remembered; about 150 kB each
KEPT_STEPS = CONTEXT_STEPS + 24 * STEPS_PER_FRAME  # for requests of up to 25 frames


class _Entry:
    """One session's sound: pcm from frame `first`'s start, the stream that encodes it, and the steps it gave last."""

    def __init__(self, extractor: FeatureExtractor, first: int) -> None:
        self.extractor = extractor
        self.first = first
        self.lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Nothing has been heard."""
        self.pcm = np.zeros(0, np.float32)
        self.stream = self.extractor.stream()
        self.steps = np.zeros((0, self.extractor.width), np.float32)

    def new_sound(self, first: int, pcm: FloatArray) -> FloatArray | None:
        """What of a request's sound is new; None where it does not go on from here. first: not before this entry's."""
        known = self.pcm[FRAME_SAMPLES * (first - self.first) :]
        if not len(known) or len(known) > len(pcm) or not np.array_equal(known, pcm[: len(known)]):
            return None
        return pcm[len(known) :]

    def last(self, count: int) -> FloatArray | None:
        """The last steps; None where there are not so many."""
        return self.steps[-count:] if len(self.steps) >= count else None


@dataclass(frozen=True, eq=False)
class SoundSpan:
    """What a request brings of a session's sound.

    first : the request's first frame; requests of one session are compared by it.
    pcm : (S,) all the request's sound, which must begin at a feature step.
    count : of the last feature steps that are wanted, at most KEPT_STEPS.
    """

    session: str
    extractor: FeatureExtractor
    first: int
    pcm: FloatArray
    count: int


class FeatureCache:
    """Feature steps by session; the one asked for least recently is forgotten. Safe to call from several threads."""

    def __init__(self, sessions: int = SESSIONS) -> None:
        self._most = sessions
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def steps(self, spans: Sequence[SoundSpan]) -> list[FloatArray | None]:
        """The last `count` feature steps that the sound of each span is enough for, (count, D).

        What is new of all is encoded together.

        Returns
        -------
        None where the request is older than what is remembered, or its stream has not given so many steps: such a
        request is to be encoded by itself.
        """
        found: list[FloatArray | None] = []
        while len(found) < len(spans):  # a session that is there twice goes on from its own first span
            part = _once_each(spans[len(found) :])
            found += self._steps_of_different_sessions(part)
        return found

    def _steps_of_different_sessions(self, spans: Sequence[SoundSpan]) -> list[FloatArray | None]:
        entries = self._entries_of(spans)
        with ExitStack() as locks:
            for entry in sorted(entries, key=id):  # in one order, so that no two threads wait for each other
                locks.enter_context(entry.lock)
            new: dict[FeatureExtractor, list[tuple[_Entry, SoundSpan, FloatArray]]] = {}
            old: set[int] = set()
            for index, (span, entry) in enumerate(zip(spans, entries, strict=True)):
                if span.first < entry.first:
                    old.add(index)
                    continue
                sound = entry.new_sound(span.first, span.pcm)
                if sound is None:
                    entry.begin()
                    sound = span.pcm
                new.setdefault(span.extractor, []).append((entry, span, sound))
            for extractor, own in new.items():
                self._go_on(extractor, own)
            return [
                None if index in old else entry.last(span.count)
                for index, (span, entry) in enumerate(zip(spans, entries, strict=True))
            ]

    def _entries_of(self, spans: Sequence[SoundSpan]) -> list[_Entry]:
        entries = []
        with self._lock:
            for span in spans:
                entry = self._entries.get(span.session)
                if entry is None or entry.extractor is not span.extractor:
                    entry = self._entries[span.session] = _Entry(span.extractor, span.first)
                self._entries.move_to_end(span.session)
                entries.append(entry)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        return entries

    @staticmethod
    def _go_on(extractor: FeatureExtractor, new: Sequence[tuple[_Entry, SoundSpan, FloatArray]]) -> None:
        longer = [(entry, sound) for entry, _, sound in new if len(sound)]
        try:
            pushed = extractor.push_all([entry.stream for entry, _ in longer], [sound for _, sound in longer])
        except BaseException:  # nobody knows what these streams have taken in
            for entry, _ in longer:
                entry.begin()
            raise
        for (entry, _), steps in zip(longer, pushed, strict=True):
            entry.steps = np.concatenate([entry.steps, steps])[-KEPT_STEPS:]
        for entry, span, _ in new:  # only now is it known to have been heard
            entry.first, entry.pcm = span.first, span.pcm


def _once_each(spans: Sequence[SoundSpan]) -> Sequence[SoundSpan]:
    """As many of the first spans as are of different sessions."""
    seen: set[str] = set()
    for index, span in enumerate(spans):
        if span.session in seen:
            return spans[:index]
        seen.add(span.session)
    return spans
