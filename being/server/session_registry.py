"""The client sessions of one ingress by id; those of lost clients are kept for a while, for them to come back."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter

from being.server.admission import Load
from being.server.client_session import ClientSession
from being.server.frame_loop import FrameLoop
from being.server.metrics import Meter
from being.server.problems import Problem


class SessionRegistry:
    """A session is in the frame loop while its client is connected, and here until its client has been gone too long.

    Parameters
    ----------
    gone_s : float
        Seconds for which the session of a lost client is kept.
    """

    def __init__(self, frame_loop: FrameLoop, gone_s: float, meter: Meter) -> None:
        self._frame_loop = frame_loop
        self._gone_s = gone_s
        self._meter = meter
        self._sessions: dict[str, ClientSession] = {}
        self._expiry: dict[str, asyncio.TimerHandle] = {}  # of those whose clients are lost, longest first

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._sessions

    @property
    def waiting(self) -> int:
        """Sessions that wait for their lost clients, and give way to new ones."""
        return len(self._expiry)

    def all(self) -> list[ClientSession]:
        """The oldest first."""
        return list(self._sessions.values())

    def get(self, session_id: str) -> ClientSession:
        """One of them; Problem 404 where there is none of this id."""
        if session_id not in self._sessions:
            raise no_session(session_id)
        return self._sessions[session_id]

    def is_waiting(self, session_id: str) -> bool:
        """Whether it waits for its lost client."""
        return session_id in self._expiry

    def loads(self) -> Counter[Load]:
        """What they cost: sessions by avatar and size."""
        return Counter(client.load for client in self._sessions.values())

    @property
    def faded(self) -> bool:
        """Whether strengths of the refiner are being lowered, because drawing does not keep up with those there are.

        A late tick says nothing for long where nobody is refined: sessions that begin make some.
        """
        refined = any(client.session.output.refine for client in self._sessions.values())
        return refined and self._frame_loop.scheduler.refine_fade.share < 1

    def add(self, client: ClientSession) -> None:
        """A new client is connected."""
        self._sessions[client.session.id] = client
        client.connect()
        self._frame_loop.join(client)
        self._count()

    def resume(self, session_id: str, token: str, avatar: str) -> ClientSession | None:
        """An avatar's session whose client comes back with its token; None where it is not known here."""
        client = self._sessions.get(session_id)
        if client is None or client.session.avatar.id != avatar:
            return None
        if not secrets.compare_digest(client.token.encode(), token.encode()):
            return None
        client.connect()
        if (timer := self._expiry.pop(session_id, None)) is not None:
            timer.cancel()
            self._frame_loop.join(client)
        self._count()
        return client

    def detach(self, client: ClientSession, *, may_return: bool) -> None:
        """The connection is gone; a client that did not say goodbye may come back for a while."""
        session_id = client.session.id
        if self._sessions.get(session_id) is not client or session_id in self._expiry:
            return  # another has its place, or it was detached before
        self._frame_loop.leave(client)
        if may_return:
            self._expiry[session_id] = asyncio.get_running_loop().call_later(self._gone_s, self.forget, session_id)
        else:
            self.forget(session_id)
        self._count()

    def give_way(self) -> bool:
        """Forget the session that has waited longest for its client; False where none waits."""
        if not self._expiry:
            return False
        self.forget(next(iter(self._expiry)))
        return True

    def close(self) -> None:
        """No timer is left behind."""
        for timer in self._expiry.values():
            timer.cancel()

    def forget(self, session_id: str) -> None:
        """A session that nobody is connected to is over, or others hold it."""
        self._sessions.pop(session_id, None)
        if (timer := self._expiry.pop(session_id, None)) is not None:
            timer.cancel()
        self._count()

    def _count(self) -> None:
        self._meter.set("being_sessions", float(len(self._sessions) - self.waiting), state="live")
        self._meter.set("being_sessions", float(self.waiting), state="waiting")


def no_session(session_id: str) -> Problem:
    """404."""
    return Problem(404, f"there is no session {session_id!r}", "See /v1/sessions")
