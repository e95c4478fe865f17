"""Encoder, renderer and refiner as deployments of their own, over Serve's handles, all in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.native_refiner import give_refiner, trained
from support.tiny import make_tiny_avatar

pytest.importorskip("ray")

import ray
from being.deployments.audio_encoder import AudioEncoder
from being.deployments.ray_graph import RayGraph
from being.deployments.refiner import Refiner
from being.deployments.renderer import Renderer
from being.deployments.settings import GraphSettings
from ray import serve

from being.avatar.folder import Avatar, save_avatar
from being.inference.frames import PixelFormat
from being.live.requests import OutputFormat
from being.live.session import Session


@pytest.fixture(autouse=True)
def no_ray() -> Iterator[None]:
    """Serve's local testing mode needs no Ray, and the tests after these start their own."""
    yield
    assert not ray.is_initialized()


def local(deployment: Any, settings: Any) -> Any:
    return serve.run(deployment.bind(settings), name=deployment.name, _local_testing_mode=True)


@pytest.mark.parametrize("place", ["own", "renderer"])
def test_sound_goes_through_every_stage(tiny_folder: Path, place: str) -> None:
    settings = GraphSettings.model_validate(
        {
            "library": [str(tiny_folder)],
            "encoder": "own",
            "refiner": {"load": "support.red_square:red_square", "place": place},
        }
    )
    refiner = local(Refiner, settings) if place == "own" else None
    costs = []
    graph = RayGraph(
        settings,
        local(Renderer, settings),
        local(AudioEncoder, settings),
        refiner,
        observer=lambda frames, seconds: costs.append((dict(frames), seconds)),
    )

    async def tick() -> list[Any]:
        facts = await graph.prepare("tiny")
        formats = {"planes": PixelFormat.YUV420, "pixels": PixelFormat.RGB}
        sessions = [Session(name, facts, OutputFormat(64, 48, pixel_format=pixels)) for name, pixels in formats.items()]
        return await graph.submit([session.take(2, 0.0).request for session in sessions])

    records = asyncio.run(tick())
    assert [record.index for record in records] == [0, 1, 0, 1] and not any(record.error for record in records)
    assert [record.session for record in records] == ["planes"] * 2 + ["pixels"] * 2
    assert {record.avatar for record in records} == {"tiny"} and all(record.face_box for record in records)
    planes, pixels = records[1].image, records[3].image
    assert planes.shape == (72, 64) and pixels.shape == (48, 64, 3)
    np.testing.assert_array_equal(pixels[8, 8], (255, 0, 0))
    assert planes[48:60].reshape(24, 32)[4, 4] < 128 < planes[60:].reshape(24, 32)[4, 4], "red has little blue"
    ((frames, seconds),) = costs
    assert sum(frames.values()) == 4 and seconds > 0


def test_a_refiner_of_its_own_refines_whom_it_knows(tiny_avatar: Avatar, tmp_path: Path) -> None:
    give_refiner(tiny_avatar, tmp_path, trained())
    assert tiny_avatar.folder is not None
    library = [str(tiny_avatar.folder.parent)]
    pictures: dict[str, list[Any]] = {}
    for place in ("own", "renderer"):
        settings = GraphSettings.model_validate({"library": library, "refiner": {"place": place, "device": "cpu"}})
        refiner = local(Refiner, settings) if place == "own" else None
        graph = RayGraph(settings, local(Renderer, settings), None, refiner)

        async def drawn(graph: RayGraph = graph) -> list[Any]:
            facts = await graph.prepare("tiny")
            assert facts.refine == 1.0
            session = Session("s", facts, OutputFormat(192, 144))
            request = session.take(1, 0.0).request
            ticks = [[replace(request, output=replace(request.output, refine=strength))] for strength in (0.0, 1.0)]
            return [(await graph.submit(tick))[0].image.astype(int) for tick in ticks]

        pictures[place] = asyncio.run(drawn())
    for plain, refined in pictures.values():
        assert np.abs(refined - plain).max() > 20
    assert np.abs(pictures["own"][1] - pictures["renderer"][1]).max() <= 2, "pictures are rounded on their way"


def test_a_refiner_of_its_own_keeps_as_many_as_may_be_resident(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        give_refiner(
            save_avatar(make_tiny_avatar(name, number), tmp_path / "avatars" / name), tmp_path, trained(number)
        )
    settings = GraphSettings.model_validate(
        {"library": [str(tmp_path / "avatars")], "resident": 1, "refiner": {"place": "own", "device": "cpu"}}
    )
    refiner = local(Refiner, settings)

    async def prepared() -> tuple[bool, bool, list[str]]:
        known = await refiner.prepare.remote("one"), await refiner.prepare.remote("two")
        return *known, await refiner.resident.remote()

    assert asyncio.run(prepared()) == (True, True, ["two"])


def test_a_refiner_of_its_own_says_for_whom_there_is_none(tiny_folder: Path) -> None:
    settings = GraphSettings.model_validate(
        {"library": [str(tiny_folder)], "refiner": {"place": "own", "device": "cpu"}}
    )
    graph = RayGraph(settings, local(Renderer, settings), None, local(Refiner, settings))
    assert asyncio.run(graph.prepare("tiny")).refine is None
