"""What one worker must know to go on with another's client: plain data, and what of it is sent again each time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from being.live.audio_timeline import TimelineState
from being.live.plain import pack, unpack
from being.live.session_state import SessionState
from being.server.admission import Load
from being.server.pcm_state import PcmState
from being.server.schemas import LiveFormat


@dataclass(frozen=True, eq=False)
class ClientState:
    """A client session between its connections.

    A stream has a clock of its own that begins anew with each connection, at the session's next frame: nothing of it
    need be known.

    started : seconds since 1970. taken_bytes : of the client's PCM. talking : as the client was told last.
    """

    session: SessionState
    pcm: PcmState
    token: str
    started: float
    format: LiveFormat
    taken_bytes: int
    repeats: int
    dropped: int
    talking: bool

    @property
    def load(self) -> Load:
        return Load(self.session.avatar, self.session.width, self.session.height)


@dataclass(frozen=True, eq=False)
class Mark:
    """Up to where a session's sound was deposited: sound is only appended within a generation."""

    generation: int
    model_end: int
    playback_end: int

    @classmethod
    def of(cls, state: ClientState) -> Mark:
        """Where a deposit of this state ends."""
        session = state.session
        return cls(session.generation, session.model_timeline.end, session.playback_timeline.end)


@dataclass(frozen=True, eq=False)
class Deposit:
    """A session's state as it is left with others: packed, but for its sound, of which only what is new is sent.

    Attributes
    ----------
    head : a packed ClientState with empty timelines.
    model, playback : sound from where the deposit before ended, or all of it where `whole`.
    model_from, playback_from : what lies before is not needed any more.
    info : as /v1/sessions lists it, in JSON's types.
    """

    id: str
    token: str
    load: Load
    whole: bool
    head: bytes
    model: TimelineState
    playback: TimelineState
    model_from: int
    playback_from: int
    info: dict[str, object]

    @classmethod
    def of(cls, state: ClientState, info: dict[str, object], known: Mark | None) -> Deposit:
        """known : up to where its sound was deposited before, if it was."""
        session = state.session
        model, playback = session.model_timeline, session.playback_timeline
        whole = (
            known is None
            or known.generation != session.generation
            or known.model_end < model.start
            or known.playback_end < playback.start
        )
        empty = replace(session, model_timeline=model.since(model.end), playback_timeline=playback.since(playback.end))
        return cls(
            id=session.id,
            token=state.token,
            load=state.load,
            whole=whole,
            head=pack(replace(state, session=empty)),
            model=model if known is None or whole else model.since(known.model_end),
            playback=playback if known is None or whole else playback.since(known.playback_end),
            model_from=model.start,
            playback_from=playback.start,
            info=info,
        )

    def after(self, before: Deposit | None) -> Deposit | None:
        """All that is known with this deposit, as a whole one; None where it does not go on from `before`.

        Only the sound that it brought is copied.
        """
        if self.whole:
            return replace(self, model=self.model.copied(), playback=self.playback.copied())
        if before is None or (before.model.end, before.playback.end) != (self.model.start, self.playback.start):
            return None
        return replace(
            self,
            whole=True,
            model=before.model.extended(self.model.copied()).since(self.model_from),
            playback=before.playback.extended(self.playback.copied()).since(self.playback_from),
        )

    def state(self) -> ClientState:
        """Of a whole deposit; ValueError where another version wrote what cannot be read."""
        state = unpack(ClientState, self.head)
        session = replace(state.session, model_timeline=self.model, playback_timeline=self.playback)
        return replace(state, session=session)
