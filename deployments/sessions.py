"""The directory of all workers' sessions, in one replica: `being.server.session_store` behind Serve."""

from __future__ import annotations

import time
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from being.inference.compositing import PictureFile
from being.server.admission import Load
from being.server.client_state import Deposit
from being.server.room_plan import Room
from being.server.session_store import Refused, ReportAnswer, SessionStore, WorkerReport


@serve.deployment(
    name="Sessions",
    num_replicas=1,
    max_ongoing_requests=1000,
    health_check_period_s=2,
    graceful_shutdown_timeout_s=1,
    ray_actor_options={"num_cpus": 0.1},
)
class Sessions:
    """Its replica's death costs nothing but a moment: workers go on alone, and deposit again with its successor.

    It is given plain numbers: the graph's settings would bring PyTorch along, three hundred megabytes of it.

    Parameters
    ----------
    gone_s, budget, shards : as `being.server.session_store.SessionStore` has them.
    """

    def __init__(self, gone_s: float, budget: float, shards: int) -> None:
        self._store = SessionStore(gone_s, budget, shards)

    async def report(self, report: WorkerReport) -> ReportAnswer:
        return self._store.report(report, time.monotonic())

    async def reserve(self, worker: str, session_id: str, load: Load) -> Refused | None:
        return self._store.reserve(worker, session_id, load, time.monotonic())

    async def withdraw(self, worker: str, session_id: str, token: str, avatar: str) -> Deposit | None:
        return self._store.withdraw(worker, session_id, token, avatar, time.monotonic())

    async def listing(self) -> list[dict[str, object]]:
        return self._store.listing(time.monotonic())

    async def room(self, load: Load) -> Room:
        return self._store.room(load, time.monotonic())

    async def metrics(self) -> dict[str, bytes]:
        return self._store.metrics(time.monotonic())

    async def keep_picture(self, picture: PictureFile) -> None:
        self._store.pictures.keep(picture)

    async def picture(self, name: str) -> PictureFile | None:
        return self._store.pictures.get(name)


class SessionsHandle:
    """`being.server.shared_sessions.SessionDirectory` over the deployment's handle.

    Calls travel by reference: a session with minutes of unspoken sound is larger than a message by value may be.
    """

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle: Any = handle.options(_by_reference=True)

    async def report(self, report: WorkerReport) -> ReportAnswer:
        answer: ReportAnswer = await self._handle.report.remote(report)
        return answer

    async def reserve(self, worker: str, session_id: str, load: Load) -> Refused | None:
        answer: Refused | None = await self._handle.reserve.remote(worker, session_id, load)
        return answer

    async def withdraw(self, worker: str, session_id: str, token: str, avatar: str) -> Deposit | None:
        answer: Deposit | None = await self._handle.withdraw.remote(worker, session_id, token, avatar)
        return answer

    async def listing(self) -> list[dict[str, object]]:
        answer: list[dict[str, object]] = await self._handle.listing.remote()
        return answer

    async def room(self, load: Load) -> Room:
        answer: Room = await self._handle.room.remote(load)
        return answer

    async def metrics(self) -> dict[str, bytes]:
        answer: dict[str, bytes] = await self._handle.metrics.remote()
        return answer

    async def keep_picture(self, picture: PictureFile) -> None:
        await self._handle.keep_picture.remote(picture)

    async def picture(self, name: str) -> PictureFile | None:
        answer: PictureFile | None = await self._handle.picture.remote(name)
        return answer
