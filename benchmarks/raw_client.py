"""Requests below what client libraries send: bodies made as they go, connections that end midway, paths as they are."""

from __future__ import annotations

import io
import json
import math
import shutil
import socket
import struct
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np

GIB, MIB = 1 << 30, 1 << 20
PATIENCE_S = 60.0
PART_HEAD = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'


def copy_avatar(source: Path, library: Path, name: str) -> Path:
    """The same avatar under another id; it appears in the library whole."""
    hidden = library / f".{name}"
    shutil.copytree(source, hidden)
    manifest = hidden / "avatar.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "id": name}))
    return hidden.rename(library / name)


def wav(seconds: float, rate: int = 16_000, width: int = 2) -> bytes:
    """A quiet hum."""
    wave_of_second = 0.2 * np.sin(2 * np.pi * 200 * np.arange(rate) / rate)
    one = (wave_of_second * 32767).astype("<i2") if width == 2 else (128 + 127 * wave_of_second).astype(np.uint8)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.tile(one, math.ceil(seconds))[: round(seconds * rate)].tobytes())
    return out.getvalue()


def endless_flac(seconds: int) -> bytes:
    """Silence in a FLAC stream that does not say how long it is."""
    out = io.BytesIO()
    with av.open(out, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=8000, layout="mono")
        for second in range(0, seconds, 10):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 80_000), np.int16), format="s16", layout="mono")
            frame.rate, frame.pts = 8000, second * 8000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    body = bytearray(out.getvalue())
    body[21] &= 0xF0  # the 36 bits of STREAMINFO's number of samples: unknown
    body[22:26] = bytes(4)
    return bytes(body)


def upload(url: str, *, chunked: bool, kind: str) -> tuple[int, int]:
    """Send 2 GiB, made as they go, until the server has had enough: its status, and the bytes sent by then."""
    headers = {"Content-Type": kind, **({"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": 2 * GIB})}
    head = (
        b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n' if "multipart" in kind else b""
    )
    block, sent = bytes(MIB), 0
    with request(url, headers) as connection:
        answer = b""
        try:
            for piece in [head, *[block] * 2048]:
                if not piece:
                    continue
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
                sent += len(piece)
                connection.setblocking(False)
                try:
                    answer = connection.recv(65_536)
                    break
                except BlockingIOError:
                    continue
                finally:
                    connection.settimeout(PATIENCE_S)
        except OSError:
            pass
        try:
            while b"\r\n\r\n" not in answer and (more := connection.recv(65_536)):
                answer += more
        except OSError as error:
            if not answer:
                raise ConnectionError(f"cut off without an answer after {sent / MIB:.0f} MiB ({error})") from None
    return int(answer.split(b" ")[1]), sent


@contextmanager
def request(url: str, headers: dict[str, Any]) -> Iterator[socket.socket]:
    """A connection on which a POST has begun."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=PATIENCE_S) as connection:
        lines = [f"POST {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        yield connection


def reset(connection: socket.socket) -> None:
    """Close without goodbye."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def raw_get(http: str, path: str) -> tuple[int, bytes]:
    """GET of a path that no client library would send as it is."""
    parts = urlsplit(http)
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=PATIENCE_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return int(answer.split(b" ")[1]), answer


def http_of(url: str) -> str:
    """The HTTP address of a server whose WebSockets are at `url`."""
    return url.replace("ws", "http", 1)
