"""A worker among several: its sessions are deposited with the others', who can go on with them, and it with theirs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol, TypeVar

from being.inference.compositing import PictureFile
from being.server.admission import Load
from being.server.backgrounds import Backgrounds
from being.server.client_session import ClientSession
from being.server.client_state import Deposit, Mark
from being.server.liveness import Moved
from being.server.metrics import Meter
from being.server.refusals import refusal
from being.server.room_plan import Room
from being.server.session_registry import SessionRegistry
from being.server.session_slots import SessionSlots
from being.server.session_store import Refused, ReportAnswer, WorkerReport

DEPOSIT_S = 0.6  # between deposits: what a client sees again where a worker was killed
IDLE_REPORT_S = 1.5  # between reports of a worker without sessions
TOGETHER_S = 0.02  # what is to be told at once waits so long for company
METRICS_EVERY = 10  # reports: the others go without
ANSWER_S = 3.0  # until a call is given up: the worker goes on alone
ALONE_ANSWER_S = 0.3  # the same while it has been silent
SETTLED_S = 4.0  # for which a new client waits until measurements have told whether there is room
ASK_AGAIN_S = 0.1
SENT_S = 1.0  # what was drawn may take so long to be sent before a planned stop
DIRECTORY_S = 30.0  # for which a planned stop is put off where the directory does not answer
LONGEST_REASON = 200  # characters

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


class SessionDirectory(Protocol):
    """`being.server.session_store.SessionStore` behind calls that are awaited, and may fail."""

    async def report(self, report: WorkerReport) -> ReportAnswer: ...

    async def reserve(self, worker: str, session_id: str, load: Load) -> Refused | None: ...

    async def withdraw(self, worker: str, session_id: str, token: str, avatar: str) -> Deposit | None: ...

    async def listing(self) -> list[dict[str, object]]: ...

    async def room(self, load: Load) -> Room: ...

    async def metrics(self) -> dict[str, bytes]: ...

    async def keep_picture(self, picture: PictureFile) -> None: ...

    async def picture(self, name: str) -> PictureFile | None: ...


class SharedSessions:
    """The sessions of one worker towards the directory of all.

    Where the directory does not answer, the worker goes on alone: it admits by its own measure and by what renderers
    tell of themselves, lists its own sessions, and keeps those of lost clients itself.

    Parameters
    ----------
    directory : shared by all workers.
    worker : name of this one.
    sessions, backgrounds, slots, meter : this worker's.
    exposition : what it measured, in Prometheus' text format.
    """

    def __init__(
        self,
        directory: SessionDirectory,
        worker: str,
        sessions: SessionRegistry,
        backgrounds: Backgrounds,
        slots: SessionSlots,
        meter: Meter,
        exposition: Callable[[], bytes],
    ) -> None:
        self._directory = directory
        self._worker = worker
        self._sessions = sessions
        self._backgrounds = backgrounds
        self._slots = slots
        self._meter = meter
        self._exposition = exposition
        self._marks: dict[str, Mark] = {}  # of sessions that were deposited
        self._over: set[str] = set()  # ids that the directory should forget
        self._hurry = asyncio.Event()
        self._reporting = asyncio.Lock()
        self._reports = 0
        self._store: str | None = None
        self._running: asyncio.Task[None] | None = None
        self._alone = False

    def start(self) -> None:
        self._running = asyncio.create_task(self._run(), name="being-deposits")

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    # Coming and going.

    @asynccontextmanager
    async def place(self, names: Sequence[str], load: Load) -> AsyncIterator[str]:
        """A place for a new session among all workers', given back where opening it fails.

        names : ids it might have; the first that no other session has is its own.

        Raises
        ------
        Problem
            503: no room.
        """
        waited = 0.0
        name, *others = names
        while (refused := await self._ask(self._directory.reserve(self._worker, name, load), None)) is not None:
            if refused.taken and others:
                name, *others = others
                continue
            if not refused.settling or waited >= SETTLED_S:
                cost_ms = 1000 * refused.cost_s
                detail = f"no room for another session: a {load.width}x{load.height} frame costs {cost_ms:.0f} ms"
                raise refusal(self._meter, "cost", detail)
            await asyncio.sleep(ASK_AGAIN_S)
            waited += ASK_AGAIN_S
        if self._alone:
            self._slots.check_alone(load)
        self._over.discard(name)
        try:
            yield name
        except BaseException:
            self.over(name)
            raise

    async def withdraw(self, session_id: str, token: str, avatar: str) -> Deposit | None:
        """The state of a session that another worker held, or this one before its client was lost."""
        return await self._ask(self._directory.withdraw(self._worker, session_id, token, avatar), None)

    def entered(self, session_id: str, mark: Mark) -> None:
        """A withdrawn session goes on here; what it was withdrawn with need not be deposited again."""
        self._marks[session_id] = mark

    def over(self, session_id: str) -> None:
        """A session is over, or its place is not needed."""
        self._over.add(session_id)
        self.hurry()

    def hurry(self) -> None:
        """A client has come, was lost, or has come back: tell soon."""
        self._hurry.set()

    async def wait_for_directory(self) -> None:
        """Before a planned stop, until there is somebody to leave sessions with, who may be replaced as well."""
        if not len(self._sessions):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(DIRECTORY_S):
                while not await self.report():
                    await asyncio.sleep(ASK_AGAIN_S)

    async def hand_over(self) -> None:
        """Before a planned stop, the frame loop stands still: leave all sessions, and send their clients elsewhere."""
        clients = self._sessions.all()
        with suppress(TimeoutError):
            async with asyncio.timeout(SENT_S):
                while not all(client.settled for client in clients):
                    await asyncio.sleep(0.01)
        for client in clients:
            self._sessions.detach(client, may_return=True)
        for _ in range(2):  # once more for those whose whole state is wanted
            if len(self._sessions) and not await self.report():
                break  # clients are told all the same: they begin anew elsewhere
        for client in clients:
            client.disconnect(Moved())

    # What is asked.

    async def listing(self) -> list[dict[str, object]]:
        """All sessions; those of this worker as they are now."""
        own = {client.session.id: self._info(client) for client in self._sessions.all()}
        listed = await self._ask(self._directory.listing(), [])
        return [own.pop(str(info["id"]), info) for info in listed] + list(own.values())

    async def room(self, load: Load, here: Room) -> Room:
        """Further sessions that workers and renderers would admit; `here`: what this worker knows of by itself."""
        room = await self._ask(self._directory.room(load), None)
        return Room(here.in_all, {self._worker: here.in_all}) if room is None or not room.by_worker else room

    async def metrics(self) -> dict[str, bytes]:
        """By worker; of this one as they are now."""
        return {**await self._ask(self._directory.metrics(), {}), self._worker: self._exposition()}

    async def keep_picture(self, name: str) -> None:
        """Let the other workers have a picture that is known here."""
        if (picture := self._backgrounds.pictures.get(name)) is not None:
            await self._ask(self._directory.keep_picture(picture), None)

    async def fetch_picture(self, name: str) -> None:
        """Know a picture that another worker was sent, if any was."""
        if (picture := await self._ask(self._directory.picture(name), None)) is not None:
            self._backgrounds.pictures.keep(picture)

    async def report(self) -> bool:
        """Deposit all sessions, leave those of lost clients, and let go of those that went on elsewhere.

        Whether the directory answered.
        """
        async with self._reporting:
            clients = {client.session.id: client for client in self._sessions.all()}
            deposits, marks = [], {}
            for session_id, client in clients.items():
                if (state := client.state()) is None:
                    self.hurry()  # in a moment there is one
                    continue
                deposits.append(Deposit.of(state, self._info(client), self._marks.get(session_id)))
                marks[session_id] = Mark.of(state)
            left = tuple(name for name in marks if self._sessions.is_waiting(name))
            over = tuple(self._over)
            metrics = self._exposition() if self._reports % METRICS_EVERY == 0 else None
            self._reports += 1
            report = WorkerReport(
                self._worker,
                tuple(clients),
                tuple(deposits),
                left,
                over,
                self._slots.costs(),
                self._slots.use(),
                metrics,
            )
            answer = await self._ask(self._directory.report(report), None, patient=True)
            if answer is None:
                return False  # nobody knows whether it arrived: what does not fit will be asked for
            self._over.difference_update(over)
            self._take_answer(answer, clients, marks, left)
            if answer.store != self._store:
                self._store = answer.store
                for picture in self._backgrounds.pictures.all():
                    await self._ask(self._directory.keep_picture(picture), None)
            return True

    def _info(self, client: ClientSession) -> dict[str, object]:
        return {**client.info().model_dump(mode="json"), "worker": self._worker}

    def _take_answer(
        self, answer: ReportAnswer, clients: dict[str, ClientSession], marks: dict[str, Mark], left: tuple[str, ...]
    ) -> None:
        self._marks = {name: mark for name, mark in {**self._marks, **marks}.items() if name in clients}
        for name in answer.unknown:
            self._marks.pop(name, None)
            self.hurry()
        for name in answer.lost:
            clients[name].disconnect(Moved())
            self._sessions.detach(clients[name], may_return=False)
        for name in {*answer.lost, *left} - {*answer.unknown}:
            if self._sessions.is_waiting(name):  # else its client has come back meanwhile
                self._sessions.forget(name)
                self._marks.pop(name, None)

    async def _run(self) -> None:
        while True:
            self._hurry.clear()
            try:
                await self.report()
            except Exception:
                log.exception("the sessions could not be deposited")
            with suppress(TimeoutError):
                async with asyncio.timeout(DEPOSIT_S if len(self._sessions) else IDLE_REPORT_S):
                    await self._hurry.wait()
            if self._hurry.is_set():
                await asyncio.sleep(TOGETHER_S)

    async def _ask(self, call: Awaitable[Answer], otherwise: Answer, *, patient: bool = False) -> Answer:
        """patient : wait the whole time also while the directory is silent; only reports do, clients do not wait."""
        try:
            async with asyncio.timeout(ALONE_ANSWER_S if self._alone and not patient else ANSWER_S):
                answer = await call
        except Exception as error:
            if not self._alone:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_REASON]
                log.warning("the directory of sessions does not answer (%s): this worker goes on alone", reason)
            self._alone = True
            return otherwise
        self._alone = False
        return answer
