"""A renderer on another node: its frames travel by value, and they are the frames of a renderer beside the worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray")

from being.ray_compat import HELPER_PORTS, helper_ports
from being.ray_local import ENVIRONMENT, free_ports

PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[None]:
    """A cluster of two nodes on this machine; "here" is where the test's own replicas are put."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # for the workers
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for place in ("here", "there"):
        with helper_ports(dict(zip(HELPER_PORTS, free_ports(len(HELPER_PORTS)), strict=True))):
            cluster.add_node(num_cpus=2, resources={place: 1}, object_store_memory=100 << 20, include_dashboard=False)
    ray.init(address=cluster.address, log_to_driver=False)
    yield
    ray.shutdown()
    cluster.shutdown()


def drawn(tiny_folder: Path, place: str) -> list[tuple[list[np.ndarray], bool]]:
    """Frames of a few ticks as a replica "here" gets them of a renderer at a place, and whether in shared memory."""
    from being.deployments.ray_graph import RayGraph
    from being.deployments.renderer import Renderer
    from being.deployments.settings import GraphSettings
    from ray import serve
    from ray.serve.handle import DeploymentHandle

    settings = GraphSettings.model_validate({"library": [str(tiny_folder)]})

    class Worker:
        def __init__(self, renderer: DeploymentHandle) -> None:
            self._graph = RayGraph(settings, renderer)

        async def ticks(self, count: int) -> list[tuple[list[np.ndarray], bool]]:
            from being.inference.frames import PixelFormat
            from being.live.requests import OutputFormat
            from being.live.session import Session

            facts = await self._graph.prepare("tiny")
            session = Session("s", facts, OutputFormat(64, 48, pixel_format=PixelFormat.YUV420))
            answers = []
            for _ in range(count):
                records = await self._graph.submit([session.take(1, 0.0).request])
                pictures = [record.image for record in records if record.image is not None]
                answers.append(([np.array(one) for one in pictures], not pictures[0].flags.writeable))
                await asyncio.sleep(0.2)
            return answers

    renderer: Any = Renderer
    options = {"num_cpus": 0.1, "resources": {place: 0.1}}
    worker = serve.deployment(ray_actor_options={"num_cpus": 0.1, "resources": {"here": 0.1}})(Worker)
    app = worker.bind(renderer.options(ray_actor_options=options).bind(settings))
    handle = serve.run(app, name=place, route_prefix=None)
    answers: list[tuple[list[np.ndarray], bool]] = handle.ticks.remote(12).result(timeout_s=PATIENCE_S)
    return answers


@pytest.mark.usefixtures("two_nodes")
def test_shared_memory_here_values_there_and_the_same_frames(tiny_folder: Path) -> None:
    here, there = drawn(tiny_folder, "here"), drawn(tiny_folder, "there")
    assert [shared for _, shared in there] == [False] * 12
    assert not here[0][1], "while the channel is opened frames come by value"
    assert here[-1][1], "then through shared memory"
    for (ours, _), (theirs, _) in zip(here, there, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert np.array_equal(one, other)
