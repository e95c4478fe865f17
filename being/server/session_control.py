"""What a client asks for beside its speech, and the events that it is told. Pure: nothing is awaited."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from being.errors import InputError
from being.inference.frames import PixelFormat
from being.live.emotion import target_values
from being.live.session import Session
from being.server.backgrounds import Backgrounds
from being.server.limits import ServingLimits, check_size
from being.server.problems import Problem
from being.server.refine_strength import strength_for
from being.server.schemas import Configure, LiveFormat


class SessionControl:
    """Output format and emotion of one session, and its outgoing events.

    Parameters
    ----------
    session : Session
    format : LiveFormat
        What the client wants to be sent.
    emotions : sequence of str
        States the avatar knows.
    backgrounds, limits : the server's.
    wake : callable
        Called when there is an event to send.
    """

    def __init__(
        self,
        session: Session,
        format: LiveFormat,
        emotions: Sequence[str],
        backgrounds: Backgrounds,
        limits: ServingLimits,
        wake: Callable[[], None],
    ) -> None:
        self.format: LiveFormat = format
        self.emotions = emotions
        self.events: deque[dict[str, Any]] = deque()
        self._session = session
        self._backgrounds = backgrounds
        self._limits = limits
        self._wake = wake
        self.talking = False
        """What the client was told last."""

    def configure(self, wanted: Configure) -> bool:
        """Change what was named; whether that takes a new stream.

        Raises
        ------
        Problem
            A value does not fit the avatar or the server; nothing was changed.
        """
        output = self._session.output
        width, height = wanted.width or output.width, wanted.height or output.height
        format = wanted.format or self.format
        check_size(width, height, self._limits)
        background = output.background
        if wanted.background is not None:
            background = self._backgrounds.live(wanted.background)
        target = None
        if wanted.emotion is not None:
            try:
                target = target_values(self.emotions, wanted.emotion)
            except InputError as error:
                raise Problem.of(error, 422) from error
        refine = output.refine
        if wanted.refine is not None:
            refine = strength_for(self._session.avatar, wanted.refine)
        if target is not None:
            self._session.emotion_targets.ask(target)
        another = (width, height, format) != (output.width, output.height, self.format)
        self.format = format
        pixel_format = PixelFormat.YUV420 if format == "mp4" else PixelFormat.RGB
        self._session.output = replace(
            output, width=width, height=height, background=background, pixel_format=pixel_format, refine=refine
        )
        return another

    def emit(self, type: str, **content: Any) -> None:
        """Send an event."""
        self.events.append({"type": type, **content})
        self._wake()

    def refuse(self, problem: Problem) -> None:
        """Tell the client of something it did wrong, and go on."""
        self.emit("error", fatal=False, problem=problem.body())

    def note_talking(self, frame: int) -> None:
        """Tell when the avatar begins to speak, and when it falls silent."""
        talking = self._session.talking
        if talking != self.talking:
            self.talking = talking
            self.emit("speaking" if talking else "idle", frame=frame)
