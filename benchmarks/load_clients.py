"""Many live clients, several processes of them, each session judged where it was recorded.

A process of clients holds what its sessions received until all have left, and decodes it then, so that judging takes
no time from the clients that still listen.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from live_client import FPS, RATE, Recording, alignment, converse, decoded, frame_arrivals, latencies

T = TypeVar("T")

LATE_MS = 120.0
PAUSE_S = 0.8  # between two sentences
START_S = 0.3  # from "all processes are there" to the first arrival
PATIENCE_S = 120.0  # for all processes to be there


@dataclass(frozen=True)
class Plan:
    """What the clients do.

    addresses : URL of each session's WebSocket; as many sessions as there are.
    sound : (S,) float32 at 16 kHz, said again and again with a pause between.
    seconds : how long each session lasts.
    arrival_s : seconds between two arrivals.
    settle_s : judged is from so long after the last arrival until the first one leaves; None: all of every session.
    """

    addresses: Sequence[str]
    sound: npt.NDArray[np.float32]
    seconds: float
    chunk_s: float
    arrival_s: float
    settle_s: float | None = None

    @property
    def judged_from_s(self) -> float:
        """Since the first arrival."""
        return 0.0 if self.settle_s is None else self.arrival_s * (len(self.addresses) - 1) + self.settle_s


@dataclass(frozen=True)
class Result:
    """One session. Latencies in milliseconds; `client_late_p99` is how late the client itself sent its sound."""

    frames: int
    distinct_per_s: float
    repeated_share: float
    missing: int
    late_share: float
    p50: float
    p95: float
    p99: float
    look_ahead_ms: float
    sound_match: float
    server_p95: float | None
    client_late_p99: float


@dataclass(frozen=True)
class Outcome:
    """A session's number and what became of it: a result with the latency of every frame, or why there is none."""

    number: int
    result: Result | None = None
    curve: Sequence[float] = ()
    refused: str | None = None
    unjudged: str | None = None


def run(plan: Plan, processes: int, meanwhile: Callable[[], T]) -> tuple[list[Outcome], T]:
    """All sessions in the order of their numbers, and what a function found that ran here from the first arrival on."""
    context = multiprocessing.get_context("spawn")
    processes = min(processes, len(plan.addresses))
    barrier = context.Barrier(processes + 1)
    pipes, children = [], []
    for first in range(processes):
        here, there = context.Pipe(duplex=False)
        numbers = range(first, len(plan.addresses), processes)
        child = context.Process(target=_process, args=(plan, numbers, barrier, there), daemon=True)
        child.start()
        there.close()
        pipes.append(here)
        children.append(child)
    barrier.wait(PATIENCE_S)
    time.sleep(START_S)
    found_meanwhile = meanwhile()
    outcomes: list[Outcome] = []
    for here in pipes:
        try:
            outcomes += here.recv()
        except EOFError:
            continue  # that process died; its sessions are missing
    for child in children:
        child.join()
    found = {outcome.number: outcome for outcome in outcomes}
    lost = "its process of clients ended before it could be judged"
    return [found.get(n, Outcome(n, unjudged=lost)) for n in range(len(plan.addresses))], found_meanwhile


def _process(plan: Plan, numbers: Sequence[int], barrier: Barrier, answer: Any) -> None:
    barrier.wait(PATIENCE_S)
    begun = time.monotonic() + START_S
    recordings = asyncio.run(_sessions(plan, numbers, begun))
    window = (begun + plan.judged_from_s, math.inf if plan.settle_s is None else begun + plan.seconds)
    answer.send([_outcome(number, one, window) for number, one in zip(numbers, recordings, strict=True)])


async def _sessions(plan: Plan, numbers: Sequence[int], begun: float) -> list[Recording | Exception]:
    async def one(number: int) -> Recording | Exception:
        # People do not arrive together, nor speak in step.
        await asyncio.sleep(begun + plan.arrival_s * number - time.monotonic())
        pause = np.zeros(round(PAUSE_S * RATE), np.float32)
        sentence = np.concatenate([plan.sound, pause])
        times = int(np.ceil(plan.seconds * RATE / len(sentence))) + 1
        speech = np.roll(np.tile(sentence, times), number * 7919)
        # A touch of noise that never repeats makes the place of every word certain.
        noise = np.random.default_rng(number).normal(0, 3e-3, len(speech)).astype(np.float32)
        try:
            return await converse(plan.addresses[number], speech + noise, plan.seconds, plan.chunk_s)
        except Exception as error:  # one client's trouble is not the others'
            return error

    return list(await asyncio.gather(*(one(number) for number in numbers)))


def _outcome(number: int, recording: Recording | Exception, window: tuple[float, float]) -> Outcome:
    if isinstance(recording, Exception):
        return Outcome(number, unjudged=f"{type(recording).__name__}: {recording}")
    if recording.refused is not None:
        return Outcome(number, refused=str(recording.refused["detail"]))
    try:
        result, curve = judged(recording, window)
    except ValueError as error:
        return Outcome(number, unjudged=str(error))
    return Outcome(number, result, curve)


def judged(recording: Recording, window: tuple[float, float]) -> tuple[Result, list[float]]:
    """What a session got from one moment of the steady clock to another, and the latency of each frame in milliseconds.

    Raises
    ------
    ValueError
        Nothing was to be seen, or its own words were not found in the sound that came back.
    """
    since, until = window
    arrivals = frame_arrivals(recording)
    if not arrivals or not recording.sent:
        raise ValueError("nothing was to be seen")
    every, same, heard = decoded(recording.stream)
    frames = [frame for frame in every if since <= arrivals.get(frame, -math.inf) <= until]
    if not frames:
        raise ValueError("nothing was to be seen in the time that counts")
    before, after = recording.stats_at(since), recording.stats_at(until)
    counted = after.get("repeats", 0) - before.get("repeats", 0)
    repeats = min(len(frames), max(counted, sum(frames[0] <= frame <= frames[-1] for frame in same)))
    said = recording.speech[: recording.sent[-1][1]]
    offsets, match = alignment(said, heard)
    by_frame = latencies(recording, arrivals, offsets)
    curve = [1000 * value for frame, value in by_frame.items() if since <= arrivals[frame] <= until]
    if not curve:
        raise ValueError("its own words were not found in the sound that came back")
    span = (max(frames) - min(frames) + 1) / FPS
    p50, p95, p99 = (float(value) for value in np.percentile(curve, (50, 95, 99)))
    lateness = np.array([when - samples / RATE for when, samples in recording.sent])
    result = Result(
        frames=len(frames),
        distinct_per_s=(len(frames) - repeats) / span,
        repeated_share=repeats / len(frames),
        missing=max(frames) - min(frames) + 1 - len(frames),
        late_share=float(np.mean(np.array(curve) > LATE_MS)),
        p50=p50,
        p95=p95,
        p99=p99,
        look_ahead_ms=recording.ready["look_ahead_ms"],
        sound_match=match,
        server_p95=(after.get("latency_ms") or {}).get("p95"),
        client_late_p99=float(1000 * np.percentile(lateness - lateness.min(), 99)),
    )
    return result, curve
