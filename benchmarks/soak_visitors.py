"""Visitors of a live server: they listen, talk, interrupt, leave in every way there is, and come back after a fault."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from live_client import ACKNOWLEDGE_S, RATE
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

CHUNK_S = 0.04
DOES = ("listens", "talks", "interrupts", "sends ahead")
LEAVES = ("says goodbye", "drops", "falls silent", "comes back")
SILENT_S = 12.0  # longer than `gone_s`
BACK_WITHIN_S = 60.0
AGAIN_S = 0.5  # between two attempts
REFUSED_S = 2.0
FAULTS = (ConnectionClosed, InvalidHandshake, OSError, TimeoutError)


@dataclass
class Tally:
    """What all visitors went through."""

    counts: Counter[str] = field(default_factory=Counter)
    back_after_s: list[float] = field(default_factory=list)  # from the cut to the first picture
    problems: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = {"counts": dict(sorted(self.counts.items())), "problems": self.problems[-20:]}
        if self.back_after_s:
            p50, most = np.median(self.back_after_s), max(self.back_after_s)
            found["back_after_s"] = {"median": round(float(p50), 2), "most": round(most, 2)}
        return found


class Visitor:
    """One person after another, until told to stop."""

    def __init__(self, url: str, speech: npt.NDArray[np.int16], seed: int, tally: Tally, stay_s: float) -> None:
        self._url, self._speech, self._tally, self._stay_s = url, speech, tally, stay_s
        self._random = random.Random(seed)
        self.stopped = False

    async def run(self) -> None:
        while not self.stopped:
            await asyncio.sleep(self._random.uniform(0, 1))
            does, leaves = self._random.choice(DOES), self._random.choice(LEAVES)
            try:
                await self._visit(does, leaves)
            except FAULTS as error:
                self._tally.counts["could not connect"] += 1
                self._tally.problems.append(f"{type(error).__name__}: {error}"[:120])
                await asyncio.sleep(REFUSED_S)

    async def _visit(self, does: str, leaves: str) -> None:
        talk = _Talk(self._speech, does, self._random)
        until = time.monotonic() + self._random.uniform(0.3, 1.0) * self._stay_s
        async with _opened(self._url) as socket:
            if not await talk.begin(socket):
                self._tally.counts["refused"] += 1
                await asyncio.sleep(REFUSED_S)
                return
            self._tally.counts[does] += 1
            if leaves == "comes back":
                until = time.monotonic() + (until - time.monotonic()) / 2
            cut = not await talk.go_on(socket, until)
            if leaves == "drops" and not cut:
                socket.transport.abort()
            elif leaves == "falls silent" and not cut:
                await asyncio.sleep(SILENT_S)
        if cut or leaves == "comes back":
            self._tally.counts["cut off" if cut else leaves] += 1
            await self._again(talk, cut)
        else:
            self._tally.counts[leaves] += 1

    async def _again(self, talk: _Talk, cut: bool) -> None:
        """Go on with the session that was cut off, as the page does."""
        begun = time.monotonic()
        url = f"{self._url}&session={talk.session}&token={talk.token}"
        before = talk.session
        while time.monotonic() - begun < BACK_WITHIN_S:
            try:
                async with _opened(url) as socket:
                    if not await talk.begin(socket):
                        await asyncio.sleep(AGAIN_S)
                        continue
                    await talk.until_picture(socket)
                    if cut:
                        self._tally.back_after_s.append(time.monotonic() - begun)
                    self._tally.counts["went on" if talk.session == before else "began anew"] += 1
                    await talk.go_on(socket, time.monotonic() + self._stay_s / 4)
                    return
            except FAULTS:
                await asyncio.sleep(AGAIN_S)
        self._tally.counts["lost"] += 1
        self._tally.problems.append(f"not back within {BACK_WITHIN_S:g} s")


class _Talk:
    """What one person sends and has got so far; sockets come and go."""

    def __init__(self, speech: npt.NDArray[np.int16], does: str, chance: random.Random) -> None:
        self._speech, self._does, self._chance = speech, does, chance
        self.session = self.token = ""
        self._received = 0

    async def begin(self, socket: ClientConnection) -> bool:
        """False where there is no room. The stream's count begins anew."""
        event = json.loads(await socket.recv())
        if event["type"] == "error":
            return False
        self.session, self.token, self._received = event["session"], event["token"], 0
        return True

    async def until_picture(self, socket: ClientConnection) -> None:
        while isinstance(message := await asyncio.wait_for(socket.recv(), BACK_WITHIN_S), str):
            if json.loads(message).get("fatal"):
                raise ConnectionError("the session ended with an error")
        self._received += len(message)

    async def go_on(self, socket: ClientConnection, until: float) -> bool:
        """Until a moment; False where the server cut it off."""
        listening = asyncio.create_task(self._listen(socket))
        try:
            await self._speak(socket, until)
            return not listening.done()
        except ConnectionClosed:
            return False
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _speak(self, socket: ClientConnection, until: float) -> None:
        chunk = round(CHUNK_S * RATE)
        at = self._chance.randrange(len(self._speech) // chunk) * chunk
        interrupt_at = time.monotonic() + self._chance.uniform(1, 4)
        if self._does in ("sends ahead", "interrupts"):
            await socket.send(self._speech[: 4 * RATE].tobytes())
        while time.monotonic() < until:
            if self._does == "talks":
                await socket.send(self._speech[at : at + chunk].tobytes())
                at = (at + chunk) % (len(self._speech) - chunk)
            elif self._does == "interrupts" and time.monotonic() > interrupt_at:
                interrupt_at = time.monotonic() + self._chance.uniform(1, 4)
                await socket.send('{"type": "interrupt"}')
                await socket.send(self._speech[: 2 * RATE].tobytes())
            await asyncio.sleep(CHUNK_S)

    async def _listen(self, socket: ClientConnection) -> None:
        acknowledged_at = 0.0
        async for message in socket:
            if isinstance(message, bytes):
                self._received += len(message)
            if time.monotonic() - acknowledged_at > ACKNOWLEDGE_S:
                acknowledged_at = time.monotonic()
                await socket.send(json.dumps({"type": "received", "bytes": self._received}))


def _opened(url: str) -> connect:
    """No pings of its own: who falls silent is to be noticed by the server."""
    return connect(url, max_size=None, compression=None, open_timeout=30, close_timeout=2, ping_interval=None)
