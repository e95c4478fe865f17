"""A live client that comes back by itself with its session, as the page does, and notes what it heard when."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

RATE = 16_000
CHUNK = RATE // 50  # samples sent at a time
HEAD = struct.Struct("<4sIQ")
HEARD = 1920  # samples at 48 kHz of one frame
RETRY_S = (0.0, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0)
KEPT_S = 30.0
ACKNOWLEDGE_S = 0.25
LOW, HIGH = 400.0, 2400.0  # Hz of the chirp


def chirp(seconds: float) -> npt.NDArray[np.int16]:
    """Sound of which every moment is unlike any other: its pitch rises."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    wave = 0.3 * np.sin(2 * np.pi * (LOW * time_s + (HIGH - LOW) * time_s**2 / (2 * seconds)))
    return (wave * 32767).astype("<i2")


def moment(sound: npt.NDArray[np.float32], seconds: float) -> float:
    """Which second of the chirp a frame of sound at 48 kHz is from, by its pitch; NaN for silence."""
    if np.abs(sound).max() < 0.05:
        return float("nan")
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 38_400))
    lowest = round(LOW / 2 / 1.25)
    hertz = 1.25 * (lowest + int(spectrum[lowest:].argmax()))
    return (hertz - LOW) / (HIGH - LOW) * seconds


@dataclass
class Heard:
    """Frames of sound in the order of their arrival, and every connection's beginning."""

    arrivals: list[tuple[float, float]] = field(default_factory=list)  # steady seconds; second of the chirp
    readies: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)  # arrivals that there were when a connection began
    pictures: list[tuple[float, bytes]] = field(default_factory=list)  # the last of each connection


class ReturningClient:
    """One session. `url` without its session; `seconds` of a chirp are spoken in real time."""

    def __init__(self, url: str, seconds: float) -> None:
        self.heard = Heard()
        self.closed = False
        self._url = url
        self._seconds = seconds
        self._socket: ClientConnection | None = None  # once it is known what the server has
        self._sent: deque[tuple[int, float, bytes]] = deque()  # bytes before it, when, sound
        self._bytes = 0

    async def speak(self) -> None:
        """The chirp, sent as it is spoken."""
        pcm = chirp(self._seconds)
        started = time.monotonic()
        for first in range(0, len(pcm), CHUNK):
            await asyncio.sleep(max(0.0, started + (first + CHUNK) / RATE - time.monotonic()))
            await self._send(pcm[first : first + CHUNK].tobytes())

    async def run(self) -> None:
        """Connect, and again whenever the connection is lost, until `closed`."""
        attempts = 0
        while not self.closed:
            try:
                async with connect(self._address(), max_size=None, compression=None, open_timeout=5) as socket:
                    attempts = await self._listen(socket, attempts)
            except (OSError, WebSocketException, TimeoutError):
                pass
            self._socket = None
            if not self.closed:
                await asyncio.sleep(RETRY_S[min(attempts, len(RETRY_S) - 1)])
                attempts += 1

    def _address(self) -> str:
        if not self.heard.readies:
            return self._url
        ready = self.heard.readies[-1][1]
        return f"{self._url}&session={ready['session']}&token={ready['token']}"

    async def _listen(self, socket: ClientConnection, attempts: int) -> int:
        received, acknowledged = 0, 0.0
        async for message in socket:
            now = time.monotonic()
            if isinstance(message, str):
                event = json.loads(message)
                if event["type"] == "ready":
                    attempts, received = 0, 0
                    self.heard.readies.append((now, event))
                    self.heard.starts.append(len(self.heard.arrivals))
                    await self._resume(socket, event["taken_bytes"])
                elif event["type"] == "error" and event["fatal"]:
                    await asyncio.sleep(event["problem"].get("retry_after") or 0)
            else:
                received += len(message)
                self._note(message, now)
            if self.closed:
                await socket.close()
            elif now - acknowledged > ACKNOWLEDGE_S:
                acknowledged = now
                await socket.send(json.dumps({"type": "received", "bytes": received}))
        return attempts

    def _note(self, message: bytes, now: float) -> None:
        kind = HEAD.unpack_from(message)[0]
        if kind != b"PCM ":
            if len(self.heard.pictures) < len(self.heard.readies):
                self.heard.pictures.append((now, message[HEAD.size :]))
            return
        sound = np.frombuffer(message, "<i2", offset=HEAD.size).astype(np.float32) / 32768
        for first in range(0, len(sound), HEARD):
            self.heard.arrivals.append((now, moment(sound[first : first + HEARD], self._seconds)))

    async def _send(self, pcm: bytes) -> None:
        now = time.monotonic()
        self._sent.append((self._bytes, now, pcm))
        self._bytes += len(pcm)
        while now - self._sent[0][1] > KEPT_S:
            self._sent.popleft()
        if self._socket is not None:
            try:
                await self._socket.send(pcm)
            except WebSocketException:
                self._socket = None

    async def _resume(self, socket: ClientConnection, taken: int) -> None:
        """Send what was said and not taken; the server counts on from there."""
        kept, self._bytes = list(self._sent), taken
        self._sent.clear()
        self._socket = socket
        for at, _, pcm in kept:
            if at + len(pcm) > taken:
                await self._send(pcm[max(0, taken - at) :])
