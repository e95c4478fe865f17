"""The requests of one tick to one renderer, by column: a few large arrays instead of a few small ones a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from being.live.requests import Fade, FrameRequest, OutputFormat

FloatArray = npt.NDArray[np.float32]

NO_SOUND = np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class FrameRequestBatch:
    """R requests of N frames in all.

    Attributes
    ----------
    sessions, avatars : (R,) ids. generations, firsts, counts : (R,) int64, as in a request.
    pcm : all sounds, one after the other; sound_ends : (R,) where each ends.
    head_poses, torso_poses : (N, 3, 4). eyes : (N,).
    formats : the different output formats. format_of : (R,) which each session wants.
    emotions, fades : by request, of those that have them.
    """

    sessions: tuple[str, ...]
    avatars: tuple[str, ...]
    generations: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    pcm: FloatArray
    sound_ends: npt.NDArray[np.int64]
    head_poses: FloatArray
    torso_poses: FloatArray
    eyes: FloatArray
    formats: tuple[OutputFormat, ...]
    format_of: npt.NDArray[np.int64]
    emotions: dict[int, FloatArray] = field(default_factory=dict)
    fades: dict[int, Fade] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sessions)

    @classmethod
    def of(cls, requests: Sequence[FrameRequest], sounds: Sequence[FloatArray] | None = None) -> FrameRequestBatch:
        """At least one request. sounds : to carry in the place of their own."""
        sounds = [request.pcm for request in requests] if sounds is None else sounds
        formats: list[OutputFormat] = []
        format_of = []
        for request in requests:
            if request.output not in formats:
                formats.append(request.output)
            format_of.append(formats.index(request.output))
        return cls(
            tuple(request.session for request in requests),
            tuple(request.avatar for request in requests),
            np.array([request.generation for request in requests], np.int64),
            np.array([request.first for request in requests], np.int64),
            np.array([request.count for request in requests], np.int64),
            np.concatenate(sounds),
            np.cumsum([len(pcm) for pcm in sounds], dtype=np.int64),
            np.concatenate([request.head_poses for request in requests]),
            np.concatenate([request.torso_poses for request in requests]),
            np.concatenate([request.eyes for request in requests]),
            tuple(formats),
            np.array(format_of, np.int64),
            {row: request.emotion for row, request in enumerate(requests) if request.emotion is not None},
            {row: request.fade for row, request in enumerate(requests) if request.fade is not None},
        )

    def sounds(self) -> list[FloatArray]:
        """The sound of each request."""
        return np.split(self.pcm, self.sound_ends[:-1])

    def requests(self, sounds: Sequence[FloatArray] | None = None) -> list[FrameRequest]:
        """One by one; arrays are views. sounds : to be put in the place of those that are carried."""
        sounds = self.sounds() if sounds is None else sounds
        at = np.cumsum(self.counts)[:-1]
        columns = (np.split(part, at) for part in (self.head_poses, self.torso_poses, self.eyes))
        return [
            FrameRequest(
                session=self.sessions[row],
                avatar=self.avatars[row],
                generation=int(self.generations[row]),
                first=int(self.firsts[row]),
                pcm=sounds[row],
                head_poses=heads,
                torso_poses=torsos,
                eyes=eyes,
                output=self.formats[self.format_of[row]],
                emotion=self.emotions.get(row),
                fade=self.fades.get(row),
            )
            for row, (heads, torsos, eyes) in enumerate(zip(*columns, strict=True))
        ]

    @classmethod
    def muted(cls, requests: Sequence[FrameRequest]) -> FrameRequestBatch:
        """`of(requests).mute()`, without putting seconds of sound together first."""
        return cls.of(requests, [NO_SOUND] * len(requests)).mute()

    def mute(self) -> FrameRequestBatch:
        """Without the sound, which only the encoder needs."""
        return replace(self, pcm=np.zeros(0, np.float32), sound_ends=np.zeros(len(self), np.int64), fades={})
