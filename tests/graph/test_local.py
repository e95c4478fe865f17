"""The local graph on real (tiny) avatars: ticks mix sessions, and cutting changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
from support.scene import session_of, speech

from being.graph.local import InProcessGraph
from being.graph.tick import request_drives
from being.inference.frames import FrameRecord
from being.live.requests import OutputFormat
from being.live.session import Limits, Session


def test_a_tick_mixes_sessions_avatars_and_sizes(graph: InProcessGraph) -> None:
    async def tick() -> list[FrameRecord]:
        requests = []
        for name, size in (("tiny", (64, 48)), ("other", (32, 32))):
            facts = await graph.prepare(name)
            session = Session(name, facts, OutputFormat(*size), limits=Limits(onset_s=0))
            requests.append(session.take(2, 0.0).request)
        bad = replace(requests[0], avatar="nobody")
        return await graph.submit([requests[0], bad, requests[1]])

    records = asyncio.run(tick())
    assert [record.index for record in records] == [0, 1] * 3
    assert [None if r.image is None else r.image.shape for r in records] == [
        (48, 64, 3), (48, 64, 3), None, None, (32, 32, 3), (32, 32, 3)
    ]  # fmt: skip
    assert records[2].error is not None and "nobody" in records[2].error


def test_emotions_reach_the_drives_frame_by_frame(graph: InProcessGraph) -> None:
    """As recorded until asked, then held; every frame of a request has its own."""
    facts = asyncio.run(graph.prepare("tiny"))
    recorded = np.linspace(0, 0.5, len(facts.motion), dtype=np.float32)[:, None]
    session = session_of(replace(facts, motion=replace(facts.motion, emotion=recorded)), speech(1.0))
    plain = session.take(4, 0.0).request
    session.emotion_targets.ask(np.ones(1, np.float32))
    held = session.take(20, 0.0).request
    for request in (plain, held):
        drives = request_drives(request, np.zeros((request.count, 8, 16, 32), np.float32))
        assert [float(drive.emotion[0]) for drive in drives] == request.emotion[:, 0].tolist()  # type: ignore[index]
        assert all(record.error is None for record in graph.draw([request]))
    assert plain.emotion is not None and held.emotion is not None
    assert plain.emotion.max() <= 0.5 and held.emotion[-1, 0] == 1


def test_live_ticks_draw_what_the_file_draws(graph: InProcessGraph) -> None:
    facts = asyncio.run(graph.prepare("tiny"))
    pcm = speech(1.0)
    whole = graph.draw([session_of(facts, pcm).take(25, 0.0).request])
    session = session_of(facts, pcm)
    ticked = [record for count in (1, 2, 4, 1, 17) for record in graph.draw([session.take(count, 0.0).request])]
    for one, other in zip(whole, ticked, strict=True):
        assert one.index == other.index
        assert abs(one.image.astype(int) - other.image).max() <= 2
