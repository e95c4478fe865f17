"""The runtime of one session worker, put together: avatars, graph, frame loop, sessions, and the places for them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from weakref import WeakValueDictionary

from being.avatar.library import Library
from being.graph.contract import Graph
from being.inference.frames import PixelFormat
from being.live.requests import AvatarFacts, OutputFormat
from being.live.scheduler import Pacing
from being.live.session import Limits, Session
from being.live.session_state import SessionState
from being.server.admission import Admission, Load
from being.server.backgrounds import PREFIX, Backgrounds
from being.server.client_session import ClientSession
from being.server.client_state import ClientState, Mark
from being.server.encoding_pool import THREADS, EncodingPool
from being.server.frame_loop import FrameLoop
from being.server.limits import ServingLimits, check_size
from being.server.liveness import Moved
from being.server.merged_metrics import merged_exposition, room_exposition
from being.server.metrics import Meter, Meters, PrometheusMeter
from being.server.motion_players import MotionPlayers
from being.server.playable_avatars import PlayableAvatars
from being.server.problems import Problem
from being.server.refine_strength import strength_for
from being.server.room_plan import Room
from being.server.schemas import LiveFormat, LiveOptions, SessionInfo
from being.server.session_registry import SessionRegistry
from being.server.session_slots import REFERENCE, Loads, SessionSlots
from being.server.shared_sessions import SessionDirectory, SharedSessions
from being.server.speech_slots import SpeechSlots


class Service:
    """Opened and closed with the app that routes to it, which reaches the parts by their names: its attributes.

    Parameters
    ----------
    library : avatars by id.
    graph : where frames are drawn live.
    offline : where whole sounds are drawn; the same graph unless a deployment gives them less weight.
    admission : fed by whoever measures the graph.
    meter : where measurements go besides the Prometheus registry.
    name : of this worker, the first part of its session ids.
    directory : of the sessions of all workers; None for one that is alone.
    loads : what renderers in other processes tell of themselves, by shard.
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
        directory: SessionDirectory | None = None,
        loads: Loads = dict,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.graph = graph
        self.offline = offline or graph
        self.limits = limits = limits or ServingLimits()
        self.prometheus = PrometheusMeter()
        self.meter: Meter = Meters(self.prometheus, meter) if meter else self.prometheus
        self.backgrounds = Backgrounds(self.limits.side)
        self.avatars = PlayableAvatars(library, self.meter, unconsented=self.limits.serve_unconsented)
        self.frame_loop = FrameLoop(graph, self.meter, pacing=pacing, now=now)
        self.sessions = SessionRegistry(self.frame_loop, self.limits.gone_s, self.meter)
        admission = admission or Admission()
        self.slots = SessionSlots(admission, self.sessions, limits.sessions, self.meter, loads, limits.admission)
        self.speech_slots = SpeechSlots(self.limits.speaking, self.meter)
        self.shared: SharedSessions | None = None
        if directory is not None:
            exposition = self.prometheus.exposition
            self.shared = SharedSessions(
                directory, name, self.sessions, self.backgrounds, self.slots, self.meter, exposition
            )
        self.stopping = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._players = MotionPlayers()
        self._resuming: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._name = name
        self._now = now

    async def open(self) -> None:
        """Start the frame loop; call on the event loop that serves."""
        self.loop = asyncio.get_running_loop()
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="being-encode")
        self._encoding = EncodingPool(self.pool)
        self.frame_loop.start()
        if self.shared is not None:
            self.shared.start()

    async def close(self) -> None:
        if self.shared is not None:
            await self.shared.close()
        self.sessions.close()
        await self.frame_loop.close()
        self.pool.shutdown(wait=False, cancel_futures=True)

    async def stop(self) -> None:
        """Before a planned end: sessions go on in other workers, and their clients are told to connect again."""
        self.stopping = True
        if self.shared is not None:
            await self.shared.wait_for_directory()
        await self.frame_loop.drain()
        if self.shared is not None:
            await self.shared.hand_over()

    async def enter(self, avatar_id: str, options: LiveOptions) -> ClientSession:
        """The session of a client that connects: the one it has a token of, or a new one.

        Raises
        ------
        Problem
            As `admit`.
        Moved
            This worker is being stopped.
        """
        if self.stopping:
            raise Moved
        if options.session is not None and options.token is not None:
            client = await self._resume(avatar_id, options.session, options.token)
            if client is not None:
                return client
        return await self.admit(avatar_id, options)

    async def admit(self, avatar_id: str, options: LiveOptions) -> ClientSession:
        """The session of a new client, in the frame loop.

        Raises
        ------
        Problem
            Unknown avatar, impossible options, or 503: no room.
        """
        await self.know_background(options.background)
        background = self.backgrounds.live(options.background)
        manifest = self.avatars.manifest(avatar_id)
        width, height = options.width or _even(manifest.width), options.height or _even(manifest.height)
        check_size(width, height, self.limits)
        wished = options.session if options.session is not None and options.token is None else None
        async with self._place(wished, Load(avatar_id, width, height)) as name:
            facts = await self.avatars.prepare(avatar_id, self.graph)
            pixel_format = PixelFormat.YUV420 if options.format == "mp4" else PixelFormat.RGB
            refine = strength_for(facts, options.refine)
            output = OutputFormat(width, height, background, pixel_format, refine)
            session = await asyncio.to_thread(self._new_session, name, facts, output)
            client = self._client(session, options.format, options.sample_rate)
            if self.stopping:  # meanwhile: nobody would draw for it any more
                raise Moved
            self.sessions.add(client)
            if self.shared is not None:
                self.shared.hurry()
        return client

    def detach(self, client: ClientSession, *, may_return: bool) -> None:
        """The connection is gone; a client that did not say goodbye may come back for a while, to any worker."""
        self.sessions.detach(client, may_return=may_return)
        if self.shared is not None:
            self.shared.hurry() if may_return else self.shared.over(client.session.id)

    async def listing(self) -> list[SessionInfo]:
        """The sessions of all workers."""
        if self.shared is None:
            return [client.info() for client in self.sessions.all()]
        return [SessionInfo.model_validate(info) for info in await self.shared.listing()]

    async def room(self, avatar_id: str) -> Room:
        """Further sessions of an avatar at the reference size that would be admitted now."""
        here = self.slots.room(avatar_id)
        if self.shared is None:
            return replace(here, by_worker={self._name: here.in_all})
        return await self.shared.room(Load(avatar_id, *REFERENCE), here)

    async def metrics(self) -> bytes:
        """What all workers measured, in Prometheus' text format; the others' a few seconds ago."""
        room = await self._room_exposition()
        if self.shared is None:
            return self.prometheus.exposition() + room
        by_worker = await self.shared.metrics()
        if len(by_worker) == 1:
            return self.prometheus.exposition() + room
        return await asyncio.to_thread(merged_exposition, by_worker) + room

    async def _room_exposition(self) -> bytes:
        """For the avatar that readiness counts in."""
        playable = self.avatars.manifests()
        return room_exposition(await self.room(playable[0].id)) if playable else b""

    async def know_background(self, name: str) -> None:
        """Know a picture that another worker was sent, too."""
        picture = name.removeprefix(PREFIX)
        if self.shared is not None and name.startswith(PREFIX) and self.backgrounds.pictures.get(picture) is None:
            await self.shared.fetch_picture(picture)

    async def share_background(self, name: str) -> None:
        """Let the other workers know a picture that was just sent."""
        if self.shared is not None:
            await self.shared.keep_picture(name.removeprefix(PREFIX))

    async def _resume(self, avatar_id: str, session_id: str, token: str) -> ClientSession | None:
        """The session of a client that comes back; None where nobody knows it."""
        lock = self._resuming.setdefault(session_id, asyncio.Lock())
        async with lock:  # a client in a hurry may have come twice
            client = self.sessions.resume(session_id, token, avatar_id)
            if client is not None or self.shared is None:
                return client
            deposit = await self.shared.withdraw(session_id, token, avatar_id)
            if deposit is None:
                return None
            try:
                state = deposit.state()
                client = await self._restored(state)
            except ValueError:  # of another version
                return None
            if self.stopping:  # meanwhile: whichever worker the client reaches next withdraws it once more
                raise Moved
            self.sessions.add(client)
            self.shared.entered(session_id, Mark.of(state))
            return client

    async def _restored(self, state: ClientState) -> ClientSession:
        facts = await self.avatars.prepare_again(state.session.avatar, self.graph)
        await self.know_background(state.session.background)
        try:
            background = self.backgrounds.live(state.session.background)
        except Problem:  # forgotten everywhere: too many others were sent since
            background = self.backgrounds.live("plate")
        width, height = state.session.width, state.session.height
        refine = 0.0 if facts.refine is None else state.session.refine
        output = OutputFormat(width, height, background, PixelFormat(state.session.pixel_format), refine)
        session = await asyncio.to_thread(self._session_of, state.session, facts, output)
        client = self._client(session, state.format, state.pcm.rate)
        client.restore(state)
        return client

    @asynccontextmanager
    async def _place(self, wished: str | None, load: Load) -> AsyncIterator[str]:
        """A place for a new session, and its id: the one its client wished for, unless another has it."""
        names = [f"{self._name}-{secrets.token_hex(6)}"]
        if wished is not None and wished not in self.sessions:
            names.insert(0, wished)
        with self.slots.opening(load):
            if self.shared is None:
                yield names[0]
                return
            async with self.shared.place(names, load) as name:
                yield name

    def _new_session(self, name: str, facts: AvatarFacts, output: OutputFormat) -> Session:
        seed = self._players.lot()
        player = self._players.of(facts, seed)
        return Session(name, facts, output, seed=seed, player=player, limits=self._session_limits)

    def _session_of(self, state: SessionState, facts: AvatarFacts, output: OutputFormat) -> Session:
        player = self._players.of(facts, state.seed)
        return Session.restored(state, facts, output, self._now(), player=player, limits=self._session_limits)

    @property
    def _session_limits(self) -> Limits:
        return Limits(buffered_s=self.limits.buffered_s)

    def _client(self, session: Session, format: LiveFormat, sample_rate: int) -> ClientSession:
        emotions = self.avatars.manifest(session.avatar.id).network.emotion_states
        return ClientSession(
            session, format, sample_rate, emotions, self.backgrounds, self.limits, self.meter, self._encoding, self._now
        )


def _even(side: int) -> int:
    return side - side % 2
