"""A real server in a thread: uvicorn over the app, the in-process graph, the tiny avatars.

Tests wait for what they want to see, as long as `PATIENCE_S`; a busy machine makes them slow and never red.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from starlette.responses import PlainTextResponse

from being.api.origin import Access
from being.api.server import create_app
from being.avatar.library import Library
from being.graph.local import InProcessGraph
from being.inference.engine import Engine
from being.server.admission import Admission, Load
from being.server.limits import ServingLimits
from being.server.service import Service
from being.server.shared_sessions import SessionDirectory

PATIENCE_S = 180.0
PATIENT = ServingLimits(gone_s=600.0)  # a client of a starved machine may be silent for long and is not gone


@dataclass
class Server:
    service: Service
    port: int
    prefix: str
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def live(self, avatar: str = "tiny", **query: object) -> str:
        pairs = "&".join(f"{key}={value}" for key, value in query.items())
        return f"ws://127.0.0.1:{self.port}{self.prefix}/v1/avatars/{avatar}/live?{pairs}"

    def stop(self) -> None:
        """As before a planned end of this worker: its sessions go on in others."""
        asyncio.run_coroutine_threadsafe(self.service.stop(), self.loop).result(PATIENCE_S)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False)


@contextmanager
def drawing(folder: Path, warm: str | None = None) -> Iterator[InProcessGraph]:
    """A graph over a library; kernels are compiled before frames are due, as `being serve` does."""
    graph = InProcessGraph(Engine(Library([folder], serving_policy=True), "cpu"))
    try:
        if warm is not None:
            graph.engine.warm_up(warm)
        yield graph
    finally:
        graph.close()


@contextmanager
def running(
    graph: InProcessGraph,
    limits: ServingLimits = PATIENT,
    access: Access | None = None,
    prefix: str = "",
    told: bool = True,
    directory: SessionDirectory | None = None,
    name: str = "s",
) -> Iterator[Server]:
    """A server over the graph and its library; servers may share a graph, and as workers a directory of sessions.

    With a `prefix` it lives under this path: `told` so, as by Ray Serve's route_prefix, or behind a proxy that takes
    it off.
    """
    admission = Admission()
    for _ in range(10):  # nobody measures this graph
        admission.observe({Load("tiny", 64, 48): 1}, 0.001)
    service = Service(graph.engine.library, graph, limits=limits, directory=directory, name=name, admission=admission)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = create_app(service, access)

    async def under(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan" and prefix:
            if not f"{scope['path']}/".startswith(f"{prefix}/"):
                await PlainTextResponse("not found", 404)(scope, receive, send)
                return
            rest = scope["path"].removeprefix(prefix) or "/"
            scope = {**scope, "root_path": prefix} if told else {**scope, "path": rest, "raw_path": rest.encode()}
        await app(scope, receive, send)

    config = uvicorn.Config(under, port=port, log_level="warning", ws_ping_interval=None, lifespan="on")
    server = uvicorn.Server(config)
    loops: list[asyncio.AbstractEventLoop] = []

    async def whole() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    thread = threading.Thread(target=asyncio.run, args=(whole(),), daemon=True)
    thread.start()
    eventually(lambda: server.started or not thread.is_alive())
    assert server.started, "the server did not start"
    try:
        yield Server(service, port, prefix, loops[0])
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


def eventually(check: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def tone(seconds: float, rate: int = 16_000, hertz: float = 220.0) -> bytes:
    """A steady voice-like sound as 16-bit PCM."""
    time_s = np.arange(round(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * hertz * time_s) * (1 + 0.5 * np.sin(2 * np.pi * 4 * time_s))
    return (wave * 32767).astype("<i2").tobytes()


def wav(seconds: float, rate: int = 16_000) -> bytes:
    """The same as a WAV file."""
    import io
    import wave as wave_file

    out = io.BytesIO()
    with wave_file.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(tone(seconds, rate))
    return out.getvalue()
