"""Requests no server should fall over: each is sent for real, its answer held against what is expected, and afterwards
the server must still draw a video.

The cases themselves are in bad_requests.py and bad_live.py, which add them to the table here.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from raw_client import PATIENCE_S, wav


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
            video = httpx.post(target.speak(width=128, height=128), content=wav(0.2), timeout=PATIENCE_S)
            if video.status_code == 200:
                with av.open(io.BytesIO(video.content)) as container:
                    return len(list(container.decode(video=0))) == 5
            if video.status_code != 503:
                return False
        except (OSError, httpx.HTTPError, av.error.FFmpegError):
            pass
        time.sleep(1.0)
    return False


def problem(answer: httpx.Response, status: int) -> str:
    if answer.status_code != status or answer.headers["content-type"] != "application/problem+json":
        raise Wrong(f"{answer.status_code} {answer.headers.get('content-type')}: {answer.text[:200]}")
    return f"{status} {answer.json()['detail']}"
