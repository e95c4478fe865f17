"""A real server in a thread: uvicorn over the app, the in-process graph, the tiny avatars."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import uvicorn

from being.api.app import create_app
from being.api.limits import ServingLimits
from being.api.service import Service
from being.avatar.library import Library
from being.inference.engine import Engine
from being.live.graph import LocalGraph


@dataclass
class Server:
    service: Service
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def live(self, avatar: str = "tiny", **query: object) -> str:
        pairs = "&".join(f"{key}={value}" for key, value in query.items())
        return f"ws://127.0.0.1:{self.port}/v1/avatars/{avatar}/live?{pairs}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120, trust_env=False)


@contextmanager
def running(folder: Path, limits: ServingLimits | None = None) -> Iterator[Server]:
    library = Library([folder])
    graph = LocalGraph(Engine(library, "cpu"))
    service = Service(library, graph, limits=limits)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(create_app(service), port=port, log_level="warning", ws_ping_interval=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline and thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield Server(service, port)
    finally:
        server.should_exit = True
        thread.join(20)
        graph.close()


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
