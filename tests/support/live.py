"""Sessions of the tiny avatar, and what a graph or a meter would say, as plain objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np

from being.avatar.folder import Avatar
from being.inference.frames import FrameRecord
from being.live.requests import AudioContextRange, AvatarFacts, FrameRequest, OutputFormat
from being.live.session import Limits, Session
from being.server.backgrounds import Backgrounds
from being.server.client_session import ClientSession
from being.server.limits import ServingLimits


def tiny_facts(avatar: Avatar) -> AvatarFacts:
    return AvatarFacts("tiny", 64, 48, AudioContextRange(8960, 1280), avatar.motion)


def tiny_session(avatar: Avatar, name: str = "a") -> Session:
    return Session(name, tiny_facts(avatar), OutputFormat(64, 48), limits=Limits(onset_s=0))


def tiny_client(avatar: Avatar, name: str = "a", pool: Executor | None = None) -> ClientSession:
    """A client session that nobody serves."""
    limits = ServingLimits()
    pool = pool or ThreadPoolExecutor(1)
    backgrounds = Backgrounds(limits.side)
    return ClientSession(tiny_session(avatar, name), "mp4", 16_000, [], backgrounds, limits, Measured(), pool)


def black_frames(tick: Sequence[FrameRequest]) -> list[FrameRecord]:
    """What a graph would answer: a black picture for each frame."""
    records = []
    for request in tick:
        image = np.zeros((request.output.height, request.output.width, 3), np.uint8)
        for index in range(request.first, request.first + request.count):
            pose = request.head_poses[index - request.first]
            records.append(FrameRecord(index, request.generation, image, None, None, None, pose))
    return records


class Measured:
    """A meter that remembers: what was added in all, what was set last, every observation."""

    def __init__(self) -> None:
        self.added: Counter[str] = Counter()
        self.gauges: dict[tuple[str, ...], float] = {}
        self.observed: dict[tuple[str, ...], list[float]] = {}

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        self.added[" ".join([name, *labels.values()])] += value  # type: ignore[assignment]

    def set(self, name: str, value: float, **labels: str) -> None:
        self.gauges[(name, *labels.values())] = value

    def observe(self, name: str, value: float, **labels: str) -> None:
        self.observed.setdefault((name, *labels.values()), []).append(value)
