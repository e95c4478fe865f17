"""The runtime of one ingress, put together: avatars, graph, frame loop, sessions, and the places for them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from being.avatar.library import Library
from being.graph.contract import Graph
from being.inference.frames import PixelFormat
from being.live.requests import AvatarFacts, OutputFormat
from being.live.scheduler import Pacing
from being.live.session import Limits, Session
from being.server.admission import Admission, Load
from being.server.backgrounds import Backgrounds
from being.server.client_session import ClientSession
from being.server.frame_loop import FrameLoop
from being.server.limits import ServingLimits, check_size
from being.server.metrics import Meter, Meters, PrometheusMeter
from being.server.motion_players import MotionPlayers
from being.server.playable_avatars import PlayableAvatars
from being.server.refine_strength import strength_for
from being.server.schemas import LiveOptions
from being.server.session_registry import SessionRegistry
from being.server.session_slots import SessionSlots
from being.server.speech_slots import SpeechSlots

ENCODING_THREADS = 4


class Service:
    """Opened and closed with the app that routes to it, which reaches the parts by their names.

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
        self.graph = graph
        self.offline = offline or graph
        self.limits = limits or ServingLimits()
        self.prometheus = PrometheusMeter()
        self.meter: Meter = Meters(self.prometheus, meter) if meter else self.prometheus
        self.backgrounds = Backgrounds(self.limits.side)
        self.avatars = PlayableAvatars(library, self.meter, unconsented=self.limits.serve_unconsented)
        self.frame_loop = FrameLoop(graph, self.meter, pacing=pacing, now=now)
        self.sessions = SessionRegistry(self.frame_loop, self.limits.gone_s, self.meter)
        self.slots = SessionSlots(admission or Admission(), self.sessions, self.limits.sessions, self.meter)
        self.speech_slots = SpeechSlots(self.limits.speaking, self.meter)
        self._players = MotionPlayers()
        self._name = name
        self._now = now

    async def open(self) -> None:
        """Start the frame loop; call on the event loop that serves."""
        self.pool = ThreadPoolExecutor(ENCODING_THREADS, thread_name_prefix="being-encode")
        self.frame_loop.start()

    async def close(self) -> None:
        self.sessions.close()
        await self.frame_loop.close()
        self.pool.shutdown(wait=False, cancel_futures=True)

    async def admit(self, avatar_id: str, options: LiveOptions) -> ClientSession:
        """The session of a new client, in the frame loop.

        Raises
        ------
        Problem
            Unknown avatar, impossible options, or 503: no room.
        """
        background = self.backgrounds.live(options.background)
        manifest = self.avatars.manifest(avatar_id)
        width, height = options.width or _even(manifest.width), options.height or _even(manifest.height)
        check_size(width, height, self.limits)
        with self.slots.opening(Load(avatar_id, width, height)):
            facts = await self.avatars.prepare(avatar_id, self.graph)
            pixel_format = PixelFormat.YUV420 if options.format == "mp4" else PixelFormat.RGB
            refine = strength_for(facts, options.refine)
            output = OutputFormat(width, height, background, pixel_format, refine)
            session = await asyncio.to_thread(self._new_session, facts, output)
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
        self.sessions.add(client)
        return client

    def _new_session(self, facts: AvatarFacts, output: OutputFormat) -> Session:
        limits = Limits(buffered_s=self.limits.buffered_s)
        name = f"{self._name}-{secrets.token_hex(6)}"
        return Session(name, facts, output, player=self._players.one_of(facts), limits=limits)


def _even(side: int) -> int:
    return side - side % 2
