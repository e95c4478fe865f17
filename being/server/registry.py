"""Everything one ingress holds: the avatars it may show, the graph, the frame loop, and its sessions."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np

from being.avatar.library import Library
from being.avatar.motion import Motion
from being.avatar.schema import AvatarManifest
from being.avatar.trust import consent_trust
from being.errors import BeingError, InputError
from being.graph.local import Graph
from being.inference.frames import PixelFormat
from being.inference.motion import MotionPlayer
from being.live.requests import AvatarFacts, OutputFormat
from being.live.scheduler import Pacing
from being.live.session import Limits, Session
from being.server.admission import Admission, Load
from being.server.backgrounds import Backgrounds
from being.server.client_session import ClientSession
from being.server.frame_loop import FrameLoop
from being.server.limits import ServingLimits, check_size
from being.server.metrics import Meter, Meters, PrometheusMeter
from being.server.problems import Problem
from being.server.schemas import LiveOptions

ENCODING_THREADS = 4
RETRY_AFTER_S = 5  # what a refused client is told
WAYS = 4  # ways an avatar moves, so that not all its clients see the same
PLAYERS = 64  # kept
REFERENCE = (512, 512)  # size the readiness answer counts in


class Service:
    """Opened and closed with the app that routes to it. Attributes: one for each part of the runtime that routes reach.

    Parameters
    ----------
    library : avatars by id.
    graph : where frames are drawn live.
    offline : where whole sounds are drawn; the same graph unless a deployment gives them less weight.
    admission : fed by whoever measures the graph.
    meter : where measurements go besides the Prometheus registry.
    name : of this ingress, the first part of its session ids.
    """

    def __init__(
        self,
        library: Library,
        graph: Graph,
        *,
        offline: Graph | None = None,
        limits: ServingLimits | None = None,
        admission: Admission | None = None,
        meter: Meter | None = None,
        pacing: Pacing | None = None,
        name: str = "s",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.library = library
        self.graph = graph
        self.offline = offline or graph
        self.limits = limits or ServingLimits()
        self.admission = admission or Admission()
        self.prometheus = PrometheusMeter()
        self.meter: Meter = Meters(self.prometheus, meter) if meter else self.prometheus
        self.backgrounds = Backgrounds(self.limits.side)
        self._pacing = pacing
        self._name = name
        self._now = now
        self._sessions: dict[str, ClientSession] = {}
        self._opening: Counter[Load] = Counter()
        self._expiry: dict[str, asyncio.TimerHandle] = {}
        self._speaking = 0
        self._players: OrderedDict[tuple[str, int], tuple[Motion, MotionPlayer]] = OrderedDict()

    async def open(self) -> None:
        """Start the frame loop; call on the event loop that serves."""
        self.pool = ThreadPoolExecutor(ENCODING_THREADS, thread_name_prefix="being-encode")
        self.frame_loop = FrameLoop(self.graph, self.meter, pacing=self._pacing, now=self._now)
        self.frame_loop.start()

    async def close(self) -> None:
        for timer in self._expiry.values():
            timer.cancel()
        await self.frame_loop.close()
        self.pool.shutdown(wait=False, cancel_futures=True)

    # Avatars.

    def may_serve(self, manifest: AvatarManifest) -> bool:
        return self.limits.serve_unconsented or consent_trust(manifest).serve

    def manifest(self, avatar_id: str) -> AvatarManifest:
        """The manifest of an avatar this server plays.

        Raises
        ------
        Problem
            404 where there is none, 403 where nobody agreed to its being played.
        """
        try:
            manifest = self.library.get(avatar_id).manifest
        except InputError as error:
            raise Problem.of(error, 404) from None
        if not self.may_serve(manifest):
            raise Problem(
                403,
                f"avatar {avatar_id!r} has no valid consent record",
                "Record the person's consent, or set limits.serve_unconsented for your own experiments",
            )
        return manifest

    async def prepare(self, avatar_id: str, graph: Graph) -> AvatarFacts:
        """Load an avatar; 409 where its folder is damaged, 503 where the graph does not answer."""
        self.manifest(avatar_id)
        try:
            return await graph.prepare(avatar_id)
        except BeingError as error:
            raise Problem.of(error, 409) from None
        except Exception as error:
            reason = f"avatar {avatar_id!r} could not be loaded: {type(error).__name__}"
            raise self._refused("graph", reason) from error

    # Live sessions.

    async def admit(self, avatar_id: str, options: LiveOptions) -> ClientSession:
        """The session of a new client, in the frame loop.

        Raises
        ------
        Problem
            Unknown avatar, impossible options, or 503: no room.
        """
        background = self.backgrounds.live(options.background)
        manifest = self.manifest(avatar_id)
        width, height = options.width or _even(manifest.width), options.height or _even(manifest.height)
        check_size(width, height, self.limits)
        load = Load(avatar_id, width, height)
        self._check_room(load)
        self._opening[load] += 1
        try:
            facts = await self.prepare(avatar_id, self.graph)
            pixel_format = PixelFormat.YUV420 if options.format == "mp4" else PixelFormat.RGB
            output = OutputFormat(width, height, background, pixel_format)
            session = await asyncio.to_thread(self._new_session, facts, output)
        finally:
            self._opening[load] -= 1
        client = ClientSession(
            session,
            options.format,
            options.sample_rate,
            manifest.network.emotion_states,
            self.backgrounds,
            self.limits,
            self.meter,
            self.pool,
            self._now,
        )
        self._sessions[session.id] = client
        self.frame_loop.join(client)
        self._count_sessions()
        return client

    def resume(self, session_id: str, token: str | None) -> ClientSession | None:
        """The session of a client that comes back with its token; None where it is not known here."""
        client = self._sessions.get(session_id)
        if client is None or token is None or not secrets.compare_digest(client.token.encode(), token.encode()):
            return None
        if (timer := self._expiry.pop(session_id, None)) is not None:
            timer.cancel()
            self.frame_loop.join(client)
        self._count_sessions()
        return client

    def detach(self, client: ClientSession, *, may_return: bool) -> None:
        """The connection is gone; a client that did not say goodbye may come back for a while."""
        self.frame_loop.leave(client)
        if may_return:
            loop = asyncio.get_running_loop()
            session_id = client.session.id
            self._expiry[session_id] = loop.call_later(self.limits.gone_s, self._forget, session_id)
        else:
            self._forget(client.session.id)
        self._count_sessions()

    @property
    def waiting(self) -> int:
        """Sessions that wait for their lost clients, and give way to new ones."""
        return len(self._expiry)

    def client_sessions(self) -> list[ClientSession]:
        return list(self._sessions.values())

    def client_session(self, session_id: str) -> ClientSession:
        if session_id not in self._sessions:
            raise Problem(404, f"there is no session {session_id!r}", "See /v1/sessions")
        return self._sessions[session_id]

    def room(self, avatar_id: str) -> int:
        """Further sessions of an avatar at the reference size that would be admitted now."""
        free = self.limits.sessions - len(self._sessions)
        return self.admission.room(self._running(), Load(avatar_id, *REFERENCE), max(0, free))

    # Whole sounds.

    def begin_speaking(self) -> None:
        """Take a place among the `speak` requests; 503 where all are taken."""
        if self._speaking >= self.limits.speaking:
            raise self._refused("speaking", f"{self._speaking} sounds are being spoken already")
        self._speaking += 1

    def end_speaking(self) -> None:
        self._speaking -= 1

    def _refused(self, reason: str, detail: str) -> Problem:
        self.meter.add("being_refused", reason=reason)
        return Problem(503, detail, "Try again in a few seconds", retry_after=RETRY_AFTER_S)

    def _check_room(self, load: Load) -> None:
        """Refuse where there is no room, even after sessions that only wait for their clients have given way."""
        while (refusal := self._no_room(load)) is not None:
            if not self._expiry:
                raise refusal
            self._forget(next(iter(self._expiry)))

    def _no_room(self, load: Load) -> Problem | None:
        if len(self._sessions) + self._opening.total() >= self.limits.sessions:
            return self._refused("sessions", f"this server holds {self.limits.sessions} sessions and is full")
        if not self.admission.admits(self._running(), load):
            cost, ours = 1000 * (self.admission.cost(load) or 0), 1000 * self.admission.own_cost
            detail = f"no room for another session: a {load.width}x{load.height} frame costs {cost:.0f} ms"
            detail += f", and {ours:.0f} ms of this process" if ours else ""
            return self._refused("cost", detail)
        return None

    def _running(self) -> dict[Load, int]:
        return dict(Counter(client.load for client in self._sessions.values()) + self._opening)

    def _new_session(self, facts: AvatarFacts, output: OutputFormat) -> Session:
        limits = Limits(buffered_s=self.limits.buffered_s)
        name = f"{self._name}-{secrets.token_hex(6)}"
        return Session(name, facts, output, player=self._player(facts), limits=limits)

    def _player(self, facts: AvatarFacts) -> MotionPlayer:
        """One of the avatar's, made where it is missing or the avatar has changed; called from worker threads."""
        key = facts.id, secrets.randbelow(WAYS)
        kept = self._players.get(key)
        if kept is not None and _same_motion(kept[0], facts.motion):
            return kept[1]
        player = MotionPlayer(facts.motion, key[1])
        self._players[key] = facts.motion, player
        while len(self._players) > PLAYERS:
            self._players.popitem(last=False)
        return player

    def _forget(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)
        if (timer := self._expiry.pop(session_id, None)) is not None:
            timer.cancel()
        self._count_sessions()

    def _count_sessions(self) -> None:
        self.meter.set("being_sessions", float(len(self._sessions) - self.waiting), state="live")
        self.meter.set("being_sessions", float(self.waiting), state="waiting")


def _even(side: int) -> int:
    return side - side % 2


def _same_motion(one: Motion, other: Motion) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
