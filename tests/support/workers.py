"""Several session workers over one directory, in one process and in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from support.live import black_frames, tiny_facts

from being.avatar.folder import Avatar
from being.graph.contract import Graph
from being.inference.compositing import PictureFile
from being.inference.frames import FrameRecord
from being.live.requests import AvatarFacts, FrameRequest
from being.server.admission import Load
from being.server.client_state import Deposit
from being.server.room_plan import Room
from being.server.session_store import Refused, ReportAnswer, SessionStore, WorkerReport


class LocalDirectory:
    """A store behind awaited calls that take a moment each; `down`: nobody answers, `restart`: all is lost."""

    def __init__(self, gone_s: float = 10.0, budget: float = 0.85, delay_s: float = 0.004) -> None:
        self._make = lambda: SessionStore(gone_s, budget)
        self.store = self._make()
        self.down = False
        self.reports: list[WorkerReport] = []
        self._delay_s = delay_s

    def restart(self) -> None:
        self.store = self._make()

    async def _call(self, call: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(self._delay_s)
        if self.down:
            raise ConnectionError("the directory is down")
        return call(*args)

    async def report(self, report: WorkerReport) -> ReportAnswer:
        self.reports.append(report)
        return await self._call(lambda: self.store.report(report, now()))

    async def reserve(self, worker: str, session_id: str, load: Load) -> Refused | None:
        return await self._call(lambda: self.store.reserve(worker, session_id, load, now()))

    async def withdraw(self, worker: str, session_id: str, token: str, avatar: str) -> Deposit | None:
        return await self._call(lambda: self.store.withdraw(worker, session_id, token, avatar, now()))

    async def listing(self) -> list[dict[str, object]]:
        return await self._call(lambda: self.store.listing(now()))

    async def room(self, load: Load) -> Room:
        return await self._call(lambda: self.store.room(load, now()))

    async def metrics(self) -> dict[str, bytes]:
        return await self._call(lambda: self.store.metrics(now()))

    async def keep_picture(self, picture: PictureFile) -> None:
        await self._call(lambda: self.store.pictures.keep(picture))

    async def picture(self, name: str) -> PictureFile | None:
        return await self._call(lambda: self.store.pictures.get(name))


def now() -> float:
    return asyncio.get_running_loop().time()


class BlackGraph(Graph):
    """Draws nothing, at once."""

    def __init__(self, avatar: Avatar) -> None:
        self._avatar = avatar

    async def prepare(self, avatar: str) -> AvatarFacts:
        return tiny_facts(self._avatar)

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        return black_frames(tick)
