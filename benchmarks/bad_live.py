"""Bad live sessions: odd bytes and rates, nonsense, too much, clients that drop or fall silent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import numpy as np
from bad_input import Target, Wrong, case
from live_client import RATE, Recording, alignment, decoded
from raw_client import PATIENCE_S
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

GONE_S = 30.0  # a live client that acknowledges nothing is let go within this
JSON_NONSENSE = (
    "{",
    "",
    "null",
    "[]",
    "42",
    '"interrupt"',
    "[" * 50_000,
    '{"type": "nope"}',
    '{"type": ["interrupt"]}',
    '{"type": "received", "bytes": -1}',
    '{"type": "received", "bytes": 1e400}',
    '{"type": "received", "bytes": NaN}',
    '{"type": "configure", "width": 1000000000}',
    '{"type": "configure", "width": 513}',
    '{"type": "configure", "background": "../../etc/passwd"}',
    '{"type": "configure", "sample_rate": 47999}',
    '{"type": "configure", "emotion": {"joy": "much"}}',
    '{"type": "configure", "unknown": 1}',
    '{"type": "interrupt", "\\u0000": "\\ud800"}',
    "\U0001f600" * 100_000,
)


@case("unknown avatar, live")
def _unknown_avatar_live(target: Target) -> str:
    return _refused(target.socket("nobody"), 4404)


@case("odd numbers of PCM bytes")
def _odd_bytes(target: Target) -> str:
    async def scenario() -> float:
        said = target.speech[: 4 * RATE]
        pcm = (np.clip(said, -1, 1) * 32767).astype("<i2").tobytes()
        recording = Recording(speech=said)
        sizes = np.random.default_rng(0).choice([1, 3, 7, 641, 999, 1281], 4000)
        async with connect(target.socket(), max_size=None, compression=None) as socket:
            at = 0
            for size in sizes:
                await socket.send(pcm[at : at + int(size)])
                at += int(size)
            await socket.send('{"type": "end"}')
            await _listen(socket, recording, 9.0)
        _, _, sound = decoded(recording.stream)
        return alignment(said[: at // 2], sound)[1]

    match = asyncio.run(scenario())
    if match < 0.9:
        raise Wrong(f"the speech came back changed: correlation {match:.3f}")
    return f"heard as sent: correlation {match:.3f}"


@case("odd sample rates")
def _odd_rates(target: Target) -> str:
    for rate in (47_999, 7_999, 96_000, -1, "fast"):
        _refused(target.socket(sample_rate=rate), 4422)
    return "refused with close code 4422 each"


@case("garbage JSON")
def _garbage(target: Target) -> str:
    async def scenario() -> int:
        async with connect(target.socket(), max_size=None, compression=None) as socket:
            for nonsense in JSON_NONSENSE:
                await socket.send(nonsense)
            recording = Recording()
            await _listen(socket, recording, 3.0)
            errors = [event for _, event in recording.events if event["type"] == "error"]
            if len(errors) != len(JSON_NONSENSE) or any(event["fatal"] for event in errors):
                raise Wrong(f"{len(errors)} of {len(JSON_NONSENSE)} messages were answered with an error")
            if not recording.pieces:
                raise Wrong("the session did not go on")
            for _ in range(100):
                await socket.send("{")
            return await _closed(socket)

    code = asyncio.run(scenario())
    if code != 1008:
        raise Wrong(f"closed with {code} after a hundred more")
    return f"an error event for each of {len(JSON_NONSENSE)}, then closed with 1008 at the 50th"


@case("100 MB WebSocket message")
def _large_message(target: Target) -> str:
    async def scenario(fragments: int) -> tuple[int, int]:
        sent = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(fragments):
                yield bytes(100_000_000 // fragments)
                sent += 100_000_000 // fragments

        async with connect(target.socket(), max_size=None, compression=None) as socket:
            with suppress(ConnectionClosed, OSError):
                await socket.send(pieces() if fragments > 1 else bytes(100_000_000))
            return await _closed(socket), sent

    whole, _ = asyncio.run(scenario(1))
    pieces, sent = asyncio.run(scenario(1000))
    # A connection closed on somebody who still sends is reset, and the code may be lost with it.
    if whole != 1009 or pieces not in (1009, 1006) or sent > 50_000_000:
        raise Wrong(f"closed with {whole}; in a thousand frames with {pieces} after {sent / 1e6:.0f} MB")
    return f"closed with 1009; in a thousand frames with {pieces} after {sent / 1e6:.0f} MB"


@case("more sound than a session holds")
def _flood(target: Target) -> str:
    async def scenario() -> list[dict[str, Any]]:
        async with connect(target.socket(), max_size=None, compression=None) as socket:
            for _ in range(300):
                await socket.send(bytes(RATE * 2))
            recording = Recording()
            await _listen(socket, recording, 3.0)
            return [event for _, event in recording.events if event["type"] == "error"]

    errors = asyncio.run(scenario())
    if not errors or any(error["fatal"] or error["problem"]["status"] != 413 for error in errors):
        raise Wrong(f"answered with {errors}")
    return f"an error event: 413 {errors[0]['problem']['detail']}"


@case("live client that drops without goodbye")
def _drops(target: Target) -> str:
    async def scenario() -> None:
        for _ in range(5):
            socket = await connect(target.socket(), max_size=None, compression=None)
            await socket.recv()
            await socket.send(bytes(64_000))
            socket.transport.abort()

    asyncio.run(scenario())
    return "nothing to answer"


@case("live client that acknowledges nothing")
def _silent(target: Target) -> str:
    async def scenario() -> tuple[float, int]:
        async with connect(target.socket(), max_size=None, compression=None) as socket:
            started = time.monotonic()
            async with asyncio.timeout(GONE_S):
                code = await _closed(socket)
            return time.monotonic() - started, code

    seconds, code = asyncio.run(scenario())
    if code != 1008:
        raise Wrong(f"closed with {code}")
    return f"closed with 1008 after {seconds:.0f} s"


def _refused(url: str, code: int) -> str:
    """A live connection is told why and closed with the code."""

    async def scenario() -> str:
        async with connect(url, max_size=None, compression=None) as socket:
            first = json.loads(await socket.recv())
            closed = await _closed(socket)
            if first["type"] != "error" or not first["fatal"] or closed != code:
                raise Wrong(f"{first}, closed with {closed}")
            return f"{code} {first['problem']['detail']}"

    return asyncio.run(scenario())


async def _listen(socket: ClientConnection, recording: Recording, seconds: float) -> None:
    received = 0
    try:
        async with asyncio.timeout(seconds):
            async for message in socket:
                now = time.monotonic()
                if isinstance(message, str):
                    recording.events.append((now, json.loads(message)))
                    continue
                recording.pieces.append((now, message))
                received += len(message)
                await socket.send(json.dumps({"type": "received", "bytes": received}))
    except TimeoutError:
        return


async def _closed(socket: ClientConnection) -> int:
    """Read until the server closes; its code."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 1006
