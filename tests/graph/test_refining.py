"""A strength on its way from a session to the frames, in the graph of one process."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.native_refiner import give_refiner, trained

from being.avatar.folder import Avatar
from being.avatar.library import Library
from being.graph.local import InProcessGraph
from being.graph.tick import request_drives
from being.inference.engine import Engine
from being.inference.frames import Drive
from being.live.requests import OutputFormat
from being.live.session import Session
from being.refine.load import load_stage
from being.refine.settings import RefinerSettings


@pytest.fixture
def library(tiny_avatar: Avatar, tmp_path: Path) -> Library:
    give_refiner(tiny_avatar, tmp_path, trained())
    assert tiny_avatar.folder is not None
    return Library([tiny_avatar.folder.parent])


def test_the_session_s_strength_reaches_its_frames_and_0_changes_nothing(library: Library) -> None:
    stage = load_stage(RefinerSettings(device="cpu"), library)
    pictures, facts = {}, {}
    for name, stages in (("with", [stage]), ("without", [])):
        graph = InProcessGraph(Engine(library, "cpu", stages=stages))
        try:
            facts[name] = asyncio.run(graph.prepare("tiny"))
            for strength in (0.0, 1.0):
                session = Session("s", facts[name], OutputFormat(192, 144, refine=strength))
                records = asyncio.run(graph.submit([session.take(2, 0.0).request]))
                pictures[name, strength] = np.stack([record.image for record in records if record.image is not None])
        finally:
            graph.close()
    assert facts["with"].refine == 1.0 and facts["without"].refine is None
    np.testing.assert_array_equal(pictures["with", 0.0], pictures["without", 0.0])
    np.testing.assert_array_equal(pictures["without", 1.0], pictures["without", 0.0])
    change = np.abs(pictures["with", 1.0].astype(int) - pictures["without", 0.0])
    assert change.max() > 20


def test_drives_carry_it(library: Library, tiny_avatar: Avatar) -> None:
    graph = InProcessGraph(Engine(library, "cpu"))
    try:
        session = Session("s", asyncio.run(graph.prepare("tiny")), OutputFormat(64, 48))
    finally:
        graph.close()
    session.output = replace(session.output, refine=0.4)
    request = session.take(2, 0.0).request
    drives: list[Drive] = request_drives(request, np.zeros((2, 8, 16, 32), np.float32))
    assert [drive.refine for drive in drives] == [0.4, 0.4]
