"""A session worker encodes what costs little, and leaves the rest to the renderer."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.scene import session_of, speech

pytest.importorskip("ray")

from being.deployments import worker_encoder
from being.deployments.audio_encoder import warm_encoder
from being.deployments.worker_encoder import WorkerEncoder

from being.audio.extractors import load_extractor
from being.avatar.library import Library
from being.graph.sound_encoder import SoundEncoder
from being.graph.tick import avatar_facts, encode, prepare_tick
from being.inference.engine import Engine
from being.live.requests import FrameRequest


@pytest.fixture
def library(tiny_folder: Path) -> Library:
    return Library([tiny_folder])


@pytest.fixture
def requests(library: Library) -> list[list[FrameRequest]]:
    """Ticks of two sessions."""
    facts = avatar_facts(Engine(library), SoundEncoder(), "tiny")
    sessions = [session_of(facts, speech(1.0, seed)) for seed in (0, 1)]
    for number, session in enumerate(sessions):
        session.id = str(number)
    return [[session.take(1, 0.0).request for session in sessions] for _ in range(6)]


def test_drives_are_those_of_the_renderer_s_encoder(library: Library, requests: list[list[FrameRequest]]) -> None:
    own, encoder = WorkerEncoder(library), SoundEncoder()

    async def encoded() -> None:
        for tick in requests:
            contexts = await own(tick)
            assert contexts is not None
            ours, theirs = prepare_tick(tick, contexts), prepare_tick(tick, encode(tick, library, encoder))
            for one, other in zip(ours.drives, theirs.drives, strict=True):
                np.testing.assert_allclose(one.context, other.context, atol=1e-5)
            assert sum(np.asarray(one).nbytes for one in contexts) * 4 < sum(one.context.nbytes for one in ours.drives)

    asyncio.run(encoded())


def test_an_avatar_that_is_lost_says_why(library: Library, requests: list[list[FrameRequest]]) -> None:
    tick = [replace(requests[0][0], avatar="nobody"), requests[0][1]]
    contexts = asyncio.run(WorkerEncoder(library)(tick))
    assert contexts is not None and "nobody" in str(contexts[0]) and np.shape(contexts[1])[0] == 30


def test_features_of_large_models_are_left_to_the_renderer(
    library: Library, requests: list[list[FrameRequest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_encoder, "CHEAP", ("other",))
    assert asyncio.run(WorkerEncoder(library)(requests[0])) is None


def test_many_avatars_of_one_kind_of_features_are_warmed_once(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        shutil.copytree(Library([tiny_folder]).get("tiny").folder, tmp_path / name)
        manifest = tmp_path / name / "avatar.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"id": name}))
    pushed = []
    extractor = load_extractor(Library([tmp_path]).get("one").manifest.features)
    real = type(extractor).stream
    monkeypatch.setattr(type(extractor), "stream", lambda self: pushed.append(self) or real(self))
    assert len(Library([tmp_path]).entries()) == 2
    warm_encoder(Library([tmp_path]))
    assert len(pushed) == 1
