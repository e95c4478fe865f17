"""The graph on a real Ray Serve, under a path, with two session workers: the page, a film, a live session, and a
renderer, a worker and the directory of sessions that die under it.

Nothing here is bound to a wall clock: what must hold is counted in samples, frames and processes.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from support.api_server import tone, wav
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

pytest.importorskip("ray")

from being.ray_local import free_ports, start_ray

UNDER = "/faces"  # the path that all of it lives under
PATIENCE_S = 300.0  # until a test is given up: minutes of a machine that has better things to do
SPOKEN_S = 100  # sound sent ahead, so that it lasts over the outage
SAID_S = 10  # by a session that moves
FRESH = 10  # frames drawn after the outage


@pytest.fixture(scope="module")
def url(tiny_folder: Path) -> Iterator[str]:
    """The graph in its default form, but for two shards and two workers; one Ray for all tests of this file."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # for the workers
    start_ray(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    import ray
    from ray import serve

    (port,) = free_ports(1)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    deploy(tiny_folder)
    address = f"http://127.0.0.1:{port}{UNDER}"
    until(lambda: httpx.get(f"{address}/readyz", timeout=PATIENCE_S, trust_env=False).status_code == 200)
    yield address
    ray.shutdown()  # Serve's own farewell takes ten seconds


def deploy(folder: Path) -> None:
    from being.deployments.ingress import Ingress
    from being.deployments.renderer import Renderer
    from being.deployments.sessions import Sessions
    from being.deployments.settings import GraphSettings
    from ray import serve

    limits = {"gone_s": PATIENCE_S}  # a client may be silent while its test waits
    settings = GraphSettings.model_validate({"library": [str(folder)], "shards": 2, "limits": limits})
    below = [Sessions.bind(settings.limits.gone_s, settings.budget, settings.shards), Renderer.bind(settings)]
    workers = Ingress.options(num_replicas=2).bind(settings, *below, None, None)
    serve.run(workers, name="being", route_prefix=UNDER)


def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def test_the_page_is_found_under_its_path(url: str) -> None:
    with httpx.Client(timeout=PATIENCE_S, trust_env=False) as client:
        page = client.get(f"{url}/")
        parts = [urljoin(f"{url}/", part) for part in re.findall(r'(?:src|href)="([^"#]+)"', page.text)]
        assert len(parts) >= 3 and all(client.get(part).status_code == 200 for part in parts)
        listing = client.get(f"{url}/v1/avatars")
        (tiny,) = (avatar for avatar in listing.json()["avatars"] if avatar["id"] == "tiny")
        assert client.get(urljoin(str(listing.url), tiny["preview"])).headers["content-type"] == "image/jpeg"
        bare = client.get(url)
        assert bare.is_redirect and urljoin(url, bare.headers["location"]) == f"{url}/"
        assert client.get(urljoin(url, "/v1/avatars")).status_code == 404


def test_films_of_both_shards(url: str) -> None:
    for avatar in ("tiny", "other"):
        film = httpx.post(f"{url}/v1/avatars/{avatar}/speak", content=wav(1.0), timeout=PATIENCE_S, trust_env=False)
        assert film.status_code == 200, film.text
        with av.open(io.BytesIO(film.content)) as container:
            assert len(list(container.decode(video=0))) == 25


def test_a_pass_may_be_larger_than_rays_own_bound(url: str) -> None:
    """Eight frames of 1024x1024 are 12 MiB; gRPC's bound in Ray is 4."""
    size = {"width": 1024, "height": 1024}
    film = httpx.post(
        f"{url}/v1/avatars/tiny/speak", params=size, content=wav(0.4), timeout=PATIENCE_S, trust_env=False
    )
    assert film.status_code == 200, film.text
    with av.open(io.BytesIO(film.content)) as container:
        assert [frame.width for frame in container.decode(video=0)] == [1024] * 10


def test_a_picture_reaches_the_renderer(url: str) -> None:
    photo = io.BytesIO()
    Image.new("RGB", (30, 20), (0, 176, 64)).save(photo, "PNG")
    with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
        name = client.post("/v1/backgrounds", content=photo.getvalue()).json()["background"]
        film = client.post("/v1/avatars/tiny/speak", params={"background": name}, content=wav(0.2))
    with av.open(io.BytesIO(film.content)) as container:
        corner = next(container.decode(video=0)).to_ndarray(format="rgb24")[2, 2].astype(int)
    assert np.abs(corner - (0, 176, 64)).max() < 16


def test_the_directory_of_sessions_loads_no_torch(url: str) -> None:
    (directory,) = replicas("Sessions")
    assert "libtorch" not in Path(f"/proc/{process_of(directory)}/maps").read_text()


def test_a_renderer_that_dies_costs_pictures_but_no_sound(url: str) -> None:
    live = f"{url.replace('http', 'ws')}/v1/avatars/tiny/live?sample_rate=16000"
    with connect(live, max_size=None, open_timeout=PATIENCE_S) as socket:
        client = ClientSession(socket)
        client.until(lambda: "ready" in client.events)
        client.send(tone(SPOKEN_S))
        client.until(lambda: "speaking" in client.events and client.fresh >= FRESH)
        (doomed,) = replicas("Renderer")
        workers = [process_of(ingress) for ingress in replicas("Ingress")]
        shared = frame_memory(workers)
        assert shared, "frames come through shared memory"
        os.kill(process_of(doomed), signal.SIGKILL)
        repeats = client.repeats
        client.until(lambda: client.repeats > repeats and replicas("Renderer") - {doomed})
        fresh = client.fresh
        client.until(lambda: client.fresh >= fresh + FRESH and frame_memory(workers) - shared)
    stream = b"".join(client.pieces)
    with av.open(io.BytesIO(stream)) as film:
        shown = [round(float(frame.pts * frame.time_base) * 25) for frame in film.decode(video=0)]
    assert shown == list(range(shown[0], shown[0] + len(shown))), "each frame has its picture, new or repeated"
    with av.open(io.BytesIO(stream)) as film:
        blocks = [
            (round(float(block.pts * block.time_base) * 48000), block.to_ndarray()[0]) for block in film.decode(audio=0)
        ]
    for (start, block), (following, _) in pairwise(blocks):
        assert following == start + len(block), "sound follows sound to the sample"
    sound = np.concatenate([block for _, block in blocks])
    begun = int(np.argmax(np.abs(sound) > 0.05)) + 4800
    spoken = sound[begun : begun + SPOKEN_S * 48000 - 9600]
    spoken = spoken[: len(spoken) // 480 * 480].reshape(-1, 480)
    assert len(spoken) > 100 and np.abs(spoken).max(1).min() > 0.05, "and no hundredth of a second of it is silent"


def test_a_session_outlives_its_workers_and_their_directory(url: str) -> None:
    """Killed, then stopped as Serve stops one; in between the directory is lost. The client comes back each time."""
    ready: dict[str, Any] = {}
    frame = 0
    for end in (kill, kill_after_the_directory, stop):
        with closing(returned(url, ready)) as client:
            if ready:
                assert client.events["ready"]["session"] == ready["session"], "another session"
                assert client.events["ready"]["taken_bytes"] == len(tone(SAID_S))
            else:
                client.send(tone(SAID_S))
            ready = client.events["ready"]
            client.until(lambda: client.fresh >= FRESH)
            assert client.events["started"]["frame"] >= frame - 25, "at most a second is said again"
            seen = len(client.pieces)
            client.until(lambda: len(client.pieces) > seen + 25)  # noqa: B023
            frame = int(client.events["stats"]["frame"])
            until_deposited(ready["session"], frame)
            info = httpx.get(f"{url}/v1/sessions/{ready['session']}", timeout=PATIENCE_S, trust_env=False).json()
            (holder,) = (name for name in replicas("Ingress") if name.endswith(info["worker"]))
            end(holder, ready["session"])
            with pytest.raises(ConnectionClosed):
                client.until(lambda: False)
    with closing(returned(url, ready)) as client:
        assert client.events["ready"]["session"] == ready["session"]
        client.until(lambda: "started" in client.events)
        assert client.events["started"]["frame"] > frame


def until_deposited(session: str, frame: int) -> None:
    """Wait until the directory knows of a session as it was at a frame, or later."""
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    def known() -> bool:
        try:
            listing = serve.get_deployment_handle("Sessions", "being").listing.remote().result(timeout_s=10)
        except (TimeoutError, RayError, RayServeException):
            return False  # it is being replaced
        return any(info["id"] == session and info["frame"] >= frame for info in listing)

    until(known)


def kill(worker: str, session: str) -> None:
    os.kill(process_of(worker), signal.SIGKILL)


def kill_after_the_directory(worker: str, session: str) -> None:
    (doomed,) = replicas("Sessions")
    os.kill(process_of(doomed), signal.SIGKILL)
    until(lambda: bool(replicas("Sessions") - {doomed}))
    until_deposited(session, 0)
    kill(worker, session)


def stop(worker: str, session: str) -> None:
    """What Serve's controller asks of a replica that is to go."""
    import ray

    actor: Any = ray.get_actor(worker, namespace="serve")
    actor.perform_graceful_shutdown.remote()


def returned(url: str, ready: dict[str, Any]) -> ClientSession:
    """A client whose session is there; asks again while workers come and go."""
    live = f"{url.replace('http', 'ws')}/v1/avatars/tiny/live?background=%23204060"
    if ready:
        live += f"&session={ready['session']}&token={ready['token']}"
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < deadline, "no worker"
        try:
            client = ClientSession(connect(live, max_size=None, open_timeout=PATIENCE_S))
            client.until(lambda: "ready" in client.events)  # noqa: B023
            return client
        except (ConnectionClosed, InvalidHandshake, OSError):
            time.sleep(0.3)


class ClientSession:
    """A client that takes everything in."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.events: dict[str, dict[str, Any]] = {}
        """The last of each kind."""
        self.pieces: list[bytes] = []

    def close(self) -> None:
        self._socket.close()

    def send(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), 1 << 19):
            self._socket.send(pcm[at : at + (1 << 19)])

    @property
    def repeats(self) -> int:
        return int(self.events.get("stats", {"repeats": 0})["repeats"])

    @property
    def fresh(self) -> int:
        """Frames that were drawn, of those the server had counted at its last word."""
        return int(self.events.get("stats", {"frame": 0})["frame"]) - self.repeats

    def until(self, wanted: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not wanted():
            assert time.monotonic() < deadline, f"waited in vain: {self.events}"
            message = self._socket.recv(timeout=PATIENCE_S)
            if isinstance(message, bytes):
                self.pieces.append(message)
                self._socket.send(json.dumps({"type": "received", "bytes": sum(map(len, self.pieces))}))
                continue
            event = json.loads(message)
            assert event["type"] != "error", event
            self.events[event["type"]] = event


def replicas(deployment: str) -> set[str]:
    """Names of a deployment's replicas that live or are coming to life."""
    from ray.util import list_named_actors

    return {actor["name"] for actor in list_named_actors(all_namespaces=True) if f"#{deployment}#" in actor["name"]}


def frame_memory(processes: list[int]) -> set[str]:
    """Inodes of the shared memory for frames that processes map."""
    lines = [line for process in processes for line in Path(f"/proc/{process}/maps").read_text().splitlines()]
    return {line.split()[4] for line in lines if "being-frames" in line}


def process_of(name: str) -> int:
    import ray

    actor: Any = ray.get_actor(name, namespace="serve")
    return int(ray.get(actor.__ray_call__.remote(lambda replica: os.getpid()), timeout=PATIENCE_S))
