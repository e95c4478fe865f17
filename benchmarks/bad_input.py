"""Requests no server should fall over: each is sent for real, its answer held against what is expected, and afterwards
the server must still draw a film."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from live_client import RATE, Recording, alignment, decoded
from raw_client import MIB, PART_HEAD, PATIENCE_S, copy_avatar, endless_flac, raw_get, request, reset, upload, wav
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


class Wrong(Exception):
    """The server did not do what it should."""


@dataclass(frozen=True)
class Target:
    """A running server. library: a folder it reads avatars from, if this machine may write there."""

    http: str
    live: str
    avatar: str
    speech: np.ndarray
    library: Path | None = None

    def speak(self, avatar: str | None = None, **query: Any) -> str:
        return str(httpx.URL(f"{self.http}/v1/avatars/{avatar or self.avatar}/speak", params=query))

    def socket(self, avatar: str | None = None, **query: Any) -> str:
        address = self.live.partition("/v1/")[0]
        params = "&".join(f"{name}={value}" for name, value in query.items())
        return f"{address}/v1/avatars/{avatar or self.avatar}/live?width=128&height=128&{params}"


Case = Callable[[Target], str]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    """Add to the table under a name."""

    def add(function: Case) -> Case:
        CASES[name] = function
        return function

    return add


def run(target: Target, only: str | None = None) -> Iterator[dict[str, Any]]:
    """Every case: what was answered, how long that took, whether it was right, and whether the server lives."""
    for name, function in CASES.items():
        if only is not None and only not in name:
            continue
        started = time.monotonic()
        try:
            answer, right = function(target), True
        except Exception as error:
            answer, right = f"{type(error).__name__}: {error}"[:300], False
        seconds = time.monotonic() - started
        yield {"case": name, "answer": answer, "seconds": round(seconds, 2), "right": right, "alive": alive(target)}


def alive(target: Target) -> bool:
    """The server still draws: a fifth of a second of sound comes back as five frames."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            film = httpx.post(target.speak(width=128, height=128), content=wav(0.2), timeout=PATIENCE_S)
            if film.status_code == 200:
                with av.open(io.BytesIO(film.content)) as container:
                    return len(list(container.decode(video=0))) == 5
            if film.status_code != 503:
                return False
        except (OSError, httpx.HTTPError, av.error.FFmpegError):
            pass
        time.sleep(1.0)
    return False


# Whole sounds.


@case("unknown avatar")
def _unknown_avatar(target: Target) -> str:
    return _problem(httpx.post(target.speak("nobody"), content=wav(0.2), timeout=PATIENCE_S), 404)


@case("unknown avatar, live")
def _unknown_avatar_live(target: Target) -> str:
    return _refused(target.socket("nobody"), 4404)


@case("path out of the library")
def _path_out(target: Target) -> str:
    for path in (
        "/v1/avatars/..%2f..%2fetc/preview.jpg",
        "/v1/avatars/%2e%2e/preview.jpg",
        "/page/..%2f..%2fapp.py",
        "/page/%2e%2e/app.py",
        "/v1/avatars/%00",
    ):
        status, _ = raw_get(target.http, path)
        if status not in (307, 400, 404, 422):
            raise Wrong(f"{path}: {status}")
    return "404 or 400 each"


@case("empty body")
def _empty(target: Target) -> str:
    return _problem(httpx.post(target.speak(), content=b"", timeout=PATIENCE_S), 400)


@case("not audio")
def _not_audio(target: Target) -> str:
    header = wav(1.0)[:44]
    noise = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8).tobytes()
    bodies = {
        "text": b"Hello, are you a sound?" * 1000,
        "noise": noise,
        "a WAV of no samples": header,
        "a WAV cut in its head": header[:30],
        "a WAV that claims 4 GiB": header[:40] + b"\xff\xff\xff\xff",
        "a playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "a PNG": b"\x89PNG\r\n\x1a\n" + noise[:1000],
        "an MP3 head and noise": b"ID3\x04\x00\x00\x00\x00\x00\x00" + noise[:5000],
    }
    for name, body in bodies.items():
        answer = httpx.post(target.speak(), content=body, timeout=PATIENCE_S)
        if answer.status_code != 422:
            raise Wrong(f"{name}: {answer.status_code} {answer.text[:200]}")
    return f"422 for each of {len(bodies)}"


@case("broken multipart")
def _multipart(target: Target) -> str:
    for kind, body in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=other\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", PART_HEAD),
        ("multipart/form-data; boundary=b", b"\xff" * 5000),
    ):
        answer = httpx.post(target.speak(), content=body, headers={"Content-Type": kind}, timeout=PATIENCE_S)
        if answer.status_code != 400:
            raise Wrong(f"{kind}: {answer.status_code} {answer.text[:200]}")
    return "400 each"


@case("impossible options")
def _options(target: Target) -> str:
    for query in (
        {"width": 1_000_000_000},
        {"width": "wide"},
        {"width": 65},
        {"width": 2048, "height": 2048},
        {"background": "../../etc/passwd"},
        {"background": "none"},
        {"format": "exe"},
    ):
        answer = httpx.post(target.speak(**query), content=wav(0.2), timeout=PATIENCE_S)
        if answer.status_code != 422:
            raise Wrong(f"{query}: {answer.status_code} {answer.text[:200]}")
    return "422 each"


@case("2 GiB upload, its size stated")
def _stated(target: Target) -> str:
    return _refused_upload(target, chunked=False, kind="application/octet-stream")


@case("2 GiB upload, chunked")
def _chunked(target: Target) -> str:
    return _refused_upload(target, chunked=True, kind="application/octet-stream")


@case("2 GiB upload, chunked multipart")
def _chunked_multipart(target: Target) -> str:
    return _refused_upload(target, chunked=True, kind="multipart/form-data; boundary=b")


@case("3 hours of sound, stated by the file")
def _three_hours_stated(target: Target) -> str:
    return _problem(httpx.post(target.speak(), content=wav(3 * 3600, 8000, width=1), timeout=PATIENCE_S), 422)


@case("3 hours of sound, unstated")
def _three_hours_unstated(target: Target) -> str:
    body = endless_flac(3 * 3600)
    sent = time.monotonic()
    answer = _problem(httpx.post(target.speak(), content=body, timeout=PATIENCE_S), 422)
    return f"{answer}, after {time.monotonic() - sent:.1f} s (FLAC of {len(body) / MIB:.1f} MiB)"


@case("client gone while it uploads")
def _gone_uploading(target: Target) -> str:
    for _ in range(4):
        with request(target.speak(), {"Content-Length": 10 * MIB}) as connection:
            connection.sendall(bytes(MIB))
            reset(connection)
    return "nothing to answer"


@case("client gone while its film is made")
def _gone_watching(target: Target) -> str:
    body = wav(20.0)
    for _ in range(4):
        with request(target.speak(width=256, height=256), {"Content-Length": len(body)}) as connection:
            connection.sendall(body)
            status = connection.recv(4096).split(b" ")[1]
            if status not in (b"200", b"503"):
                raise Wrong(status.decode())
            reset(connection)
    return "nothing to answer"


# Live sessions.


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


@case("damaged avatar folders among good ones")
def _damaged(target: Target) -> str:
    if target.library is None:
        return "not tried: needs --library, a folder the server reads"
    good = next(folder for folder in target.library.iterdir() if (folder / "avatar.json").is_file())
    spoilt = ("cut-manifest", "no-manifest", "cut-weights", "missing-file", "list-manifest")
    try:
        for name in spoilt:
            copy_avatar(good, target.library, name)
        text = (target.library / "cut-manifest" / "avatar.json").read_text()
        (target.library / "cut-manifest" / "avatar.json").write_text(text[: len(text) // 2])
        (target.library / "no-manifest" / "avatar.json").unlink()
        (target.library / "list-manifest" / "avatar.json").write_text("[]")
        largest = max((target.library / "cut-weights").iterdir(), key=lambda path: path.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:1000])
        largest = max((target.library / "missing-file").iterdir(), key=lambda path: path.stat().st_size)
        largest.unlink()
        time.sleep(5.0)
        listed = httpx.get(f"{target.http}/v1/avatars", timeout=PATIENCE_S).json()
        names = {entry["name"] for entry in listed["broken"]}
        if not {"cut-manifest", "list-manifest"} <= names:
            raise Wrong(f"named as broken: {sorted(names)}")
        if target.avatar not in {entry["id"] for entry in listed["avatars"]}:
            raise Wrong("the good avatar is not listed any more")
        for name in spoilt:
            answer = httpx.post(target.speak(name), content=wav(0.2), timeout=PATIENCE_S)
            if answer.status_code not in (404, 409):
                raise Wrong(f"{name}: {answer.status_code} {answer.text[:200]}")
        return "named in the list or refused with 409; the good one is played"
    finally:
        for name in spoilt:
            shutil.rmtree(target.library / name, ignore_errors=True)


# Means.


def _problem(answer: httpx.Response, status: int) -> str:
    if answer.status_code != status or answer.headers["content-type"] != "application/problem+json":
        raise Wrong(f"{answer.status_code} {answer.headers.get('content-type')}: {answer.text[:200]}")
    return f"{status} {answer.json()['detail']}"


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


def _refused_upload(target: Target, *, chunked: bool, kind: str) -> str:
    status, sent = upload(target.speak(), chunked=chunked, kind=kind)
    if status != 413:
        raise Wrong(f"{status} after {sent / MIB:.0f} MiB")
    return f"413 after {sent / MIB:.0f} MiB"
