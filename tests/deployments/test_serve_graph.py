"""The graph on a real Ray Serve: film, live session, stages in other places, and a renderer that dies."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

pytest.importorskip("ray")

import ray
from ray import serve

from deployments.graph import build


@pytest.fixture(scope="module")
def deploy(tiny_folder: Path) -> Iterator[Callable[..., str]]:
    """Deploy the graph with some arguments; its address. One Ray for all tests of this file."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 << 20,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})

    def start(**args: Any) -> str:
        serve.run(build({"library": [str(tiny_folder)], **args}), name="being", route_prefix="/")
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while httpx.get(f"{url}/readyz", timeout=30, trust_env=False).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return url

    yield start
    serve.shutdown()
    ray.shutdown()


def sound(seconds: float) -> bytes:
    from api_server import wav

    return wav(seconds)


def frames_of(film: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(film)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def red_square(device: str) -> Callable[[list[Any]], list[Any]]:
    """A refiner that can be seen."""

    def refine(records: list[Any]) -> list[Any]:
        for record in records:
            record.image = record.image.copy()
            record.image[:24, :24] = (255, 0, 0)
        return records

    return refine


def test_film_live_session_and_death_of_the_renderer(deploy: Callable[..., str]) -> None:
    url = deploy(encoder="own")
    film = httpx.post(f"{url}/v1/avatars/tiny/speak", content=sound(1.0), timeout=60, trust_env=False)
    assert film.status_code == 200 and len(frames_of(film.content)) == 25

    with connect(f"{url.replace('http', 'ws')}/v1/avatars/tiny/live", max_size=None) as client:
        received, stats, killed_at = 0, [], 0
        deadline = time.monotonic() + 90
        while True:
            message = client.recv(timeout=30)
            if isinstance(message, bytes):
                received += len(message)
                client.send(json.dumps({"type": "received", "bytes": received}))
                continue
            event = json.loads(message)
            assert event["type"] != "error", event
            if event["type"] != "stats":
                continue
            stats.append(event)
            if len(stats) == 2:
                assert event["repeats"] <= 5
                os.kill(_renderer(), signal.SIGKILL)
                killed_at = event["frame"]
            repeated_since = len(stats) > 3 and event["repeats"] - stats[1]["repeats"] > 5
            if repeated_since and event["fps"] >= 15:
                break  # fresh frames again
            assert time.monotonic() < deadline, stats[-3:]
    recovery_s = (stats[-1]["frame"] - killed_at) / 25
    assert recovery_s < 60  # 15 s on a quiet machine; benchmarks/behaviour.py measures it


def test_encoder_and_refiner_inside_the_renderer_and_two_shards(deploy: Callable[..., str]) -> None:
    url = deploy(
        encoder="renderer",
        shards=2,
        refiner={"load": f"{__name__.rpartition('.')[2]}:red_square", "place": "renderer"},
    )
    for avatar in ("tiny", "other"):
        film = httpx.post(f"{url}/v1/avatars/{avatar}/speak", content=sound(0.4), timeout=60, trust_env=False)
        red, green, _ = frames_of(film.content)[-1][8, 8]
        assert red > 200 and green < 60, "the refiner was not asked"


def _renderer() -> int:
    """Process id of the renderer's replica."""
    import subprocess

    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    mine = [line for line in listing.splitlines() if "ray::" in line and ":being:Renderer" in line.replace("#", ":")]
    assert len(mine) == 1, listing
    return int(mine[0].split()[0])
