"""Session workers that are stopped and killed in the middle of a sentence, and clients that drop by the hundred.

Starts a Ray and Ray Serve of its own, with several workers behind HAProxy or Serve's Python proxy:

    python benchmarks/session_moves.py --workers 3 --drops 300 --json moves.json
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import httpx
import machine
import numpy as np
from PIL import Image
from returning_client import Heard, ReturningClient
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from being.commands.serve import ENVIRONMENT
from being.commands.session_workers import behind_haproxy

SPOKEN_S = 20.0
UPGRADED_S = 60.0  # of speech while everything is replaced, one worker after the other
LOST_AT_S = 8.0
PATIENCE_S = 400.0
BACKGROUND = "%23ff0000"  # red
FRAME_S = 0.04


@click.command()
@click.option("--workers", default=3, show_default=True)
@click.option("--proxy", type=click.Choice(["haproxy", "python"]), default="haproxy", show_default=True)
@click.option("--size", default=128, show_default=True, help="Width and height of the pictures.")
@click.option("--port", default=8123, show_default=True)
@click.option("--repeats", default=3, show_default=True, help="Times a worker is stopped, and killed.")
@click.option("--upgrades", default=2, show_default=True, help="Times that the whole application is deployed anew.")
@click.option("--drops", default=300, show_default=True)
@click.option("--json", "result", type=click.Path(path_type=Path))
def main(
    workers: int, proxy: str, size: int, port: int, repeats: int, upgrades: int, drops: int, result: Path | None
) -> None:
    """See the module."""
    with tempfile.TemporaryDirectory() as folder:
        front = behind_haproxy(Path(folder)) if proxy == "haproxy" else {}
        for name, value in {**ENVIRONMENT, **front}.items():
            os.environ.setdefault(name, value)
        found = {"machine": machine.facts(), "workers": workers, "proxy": proxy, "size": size}
        serving = Serving(workers, port)
        try:
            counts = repeats, upgrades, drops
            found |= asyncio.run(scenarios(serving, size, counts, lambda part: write(result, found | part)))
        finally:
            serving.close()
    write(result, found)
    print(json.dumps(found, indent=1))


def write(path: Path | None, found: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n")


class Serving:
    """The graph on a Ray of its own."""

    def __init__(self, workers: int, port: int) -> None:
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
        from being.ray_local import start_ray

        start_ray(
            num_cpus=workers + 4,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=200 << 20,
            namespace="serve",
        )
        from ray import serve

        self.workers = workers
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        self.http = f"http://127.0.0.1:{port}"
        self.deploy()
        until(lambda: len(self.processes("Ingress")) == workers and answers(self.http))

    def stop(self, worker: str) -> None:
        """As Serve's controller stops a replica that is to go: it asks, waits, and ends the process."""
        import ray

        (name,) = (name for name in self.names("Ingress") if name.endswith(worker))
        actor: Any = ray.get_actor(name, namespace="serve")
        ray.get(actor.perform_graceful_shutdown.remote(), timeout=60)
        ray.kill(actor)

    def deploy(self) -> None:
        """The application."""
        from being.deployments.ingress import Ingress
        from being.deployments.renderer import Renderer
        from being.deployments.sessions import Sessions
        from being.deployments.settings import GraphSettings
        from ray import serve

        settings = GraphSettings()
        below = [Sessions.bind(settings.limits.gone_s, settings.budget, settings.shards), Renderer.bind(settings)]
        ingress = Ingress.options(num_replicas=self.workers)
        serve.run(ingress.bind(settings, *below, None, None), name="being", route_prefix="/")

    def names(self, deployment: str) -> list[str]:
        """Of its replicas' actors."""
        from ray.util import list_named_actors

        actors = list_named_actors(all_namespaces=True)
        return [actor["name"] for actor in actors if f"#{deployment}#" in actor["name"]]

    def replicas(self) -> set[str]:
        """Actors of all deployments."""
        return {name for deployment in ("Ingress", "Renderer", "Sessions") for name in self.names(deployment)}

    def processes(self, deployment: str) -> dict[str, int]:
        """Process ids by replica."""
        import ray

        found = {}
        for name in self.names(deployment):
            try:
                handle: Any = ray.get_actor(name, namespace="serve")
                call = handle.__ray_call__.remote(lambda replica: os.getpid())
                found[name.rpartition("#")[2]] = int(ray.get(call, timeout=20))
            except (ValueError, ray.exceptions.RayError):
                continue  # it is going, or has not come yet
        return found

    def close(self) -> None:
        import ray

        ray.shutdown()


def answers(http: str) -> bool:
    try:
        return httpx.get(f"{http}/readyz", timeout=60, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain")
        time.sleep(0.2)


async def scenarios(
    serving: Serving, size: int, counts: tuple[int, int, int], done: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """counts : how often a worker is killed and stopped, how often all is deployed anew, how many clients drop."""
    repeats, upgrades, drops = counts
    listing = await asyncio.to_thread(httpx.get, f"{serving.http}/v1/avatars", timeout=60, trust_env=False)
    avatar = listing.json()["avatars"][0]["id"]
    url = f"{serving.http.replace('http', 'ws')}/v1/avatars/{avatar}/live?format=jpeg&width={size}&height={size}"
    found: dict[str, Any] = {"killed": [], "stopped": [], "upgraded": []}

    async def stop(worker: str) -> None:
        await asyncio.to_thread(serving.stop, worker)

    async def upgrade(worker: str) -> None:
        """Every deployment in another version, as `serve run` does it again: all replicas are replaced."""
        before = await asyncio.to_thread(serving.replicas)
        await asyncio.to_thread(serving.deploy)
        await asyncio.to_thread(until, lambda: not before & serving.replicas())

    async def kill(worker: str) -> None:
        processes = await asyncio.to_thread(serving.processes, "Ingress")
        os.kill(processes[worker], signal.SIGKILL)

    for _ in range(repeats):
        found["killed"].append(await lost(serving, url, SPOKEN_S, kill))
        done(found)
        await asyncio.to_thread(until, lambda: len(serving.processes("Ingress")) == serving.workers)
    for _ in range(repeats):
        found["stopped"].append(await lost(serving, url, SPOKEN_S, stop))
        done(found)
        await asyncio.to_thread(until, lambda: len(serving.processes("Ingress")) == serving.workers)
    for _ in range(upgrades):
        found["upgraded"].append(await lost(serving, url, UPGRADED_S, upgrade))
        done(found)
    if drops:
        found["drops"] = await dropping(serving, url, drops, done=lambda part: done(found | {"drops": part}))
    return found


async def lost(serving: Serving, url: str, spoken_s: float, end: Callable[[str], Awaitable[None]]) -> dict[str, Any]:
    """A session speaks while the worker that holds it ends; what its client heard, and for how long nothing."""
    client = ReturningClient(f"{url}&background={BACKGROUND}", spoken_s)
    running = asyncio.create_task(client.run())
    while not client.heard.readies:
        await asyncio.sleep(0.05)
    session = client.heard.readies[0][1]["session"]
    speaking = asyncio.create_task(client.speak())
    await asyncio.sleep(LOST_AT_S)
    before = await info(serving, session)
    began = time.monotonic()
    ended_s, _ = await asyncio.gather(timed(end(before["worker"])), speaking)
    await asyncio.sleep(3.0)
    after = await info(serving, session)
    client.closed = True
    await asyncio.wait_for(running, 30)
    return {
        **told(client.heard, began, spoken_s),
        "took_s": ended_s,
        "worker_before": before["worker"],
        "worker_after": after.get("worker"),
    }


async def timed(doing: Awaitable[None]) -> float:
    began = time.monotonic()
    await doing
    return round(time.monotonic() - began, 1)


async def info(serving: Serving, session: str) -> dict[str, Any]:
    for _ in range(20):
        try:
            answer = await asyncio.to_thread(
                httpx.get, f"{serving.http}/v1/sessions/{session}", timeout=10, trust_env=False
            )
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                return found
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.3)
    return {}


def told(heard: Heard, began: float, spoken_s: float) -> dict[str, Any]:
    """What became of the sentence. Seconds; a jump is what lies between two frames beyond the 40 ms that should."""
    moments = np.array([second for _, second in heard.arrivals])
    seams = []
    for start in heard.starts[1:]:
        known = [second for second in moments[:start] if not np.isnan(second)]
        coming = [second for second in moments[start:] if not np.isnan(second)]
        if known and coming:
            seams.append(round(coming[0] - known[-1] - FRAME_S, 3))
    spoken = moments[~np.isnan(moments)]
    gaps = [round(after - max(when for when, _ in heard.arrivals if when < after), 2) for after, _ in heard.readies[1:]]
    first = [next((when for when, _ in heard.arrivals[start:]), None) for start in heard.starts[1:]]
    red = [np.asarray(Image.open(io.BytesIO(picture)))[1, 1, 0] > 200 for _, picture in heard.pictures]
    return {
        "reconnections": len(heard.readies) - 1,
        "same_session": len({ready["session"] for _, ready in heard.readies}) == 1,
        "same_avatar": len({ready["avatar"] for _, ready in heard.readies}) == 1,
        "background_kept": all(red) and len(red) == len(heard.readies),
        "silent_s": gaps,
        "longest_silence_s": round(float(np.diff([when for when, _ in heard.arrivals]).max()), 2),
        "sound_again_after_s": round(first[-1] - began, 2) if first and first[-1] is not None else None,
        "jumps_s": seams,  # above zero: left out; below: repeated
        "longest_jump_inside_s": round(float(np.abs(np.diff(spoken) - FRAME_S).max()), 3),
        "heard_of_sentence_s": round(len(spoken) * FRAME_S, 2),
        "sentence_s": spoken_s,
        "end_heard": bool(spoken.max() > spoken_s - 0.2),
    }


async def dropping(serving: Serving, url: str, count: int, done: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Connect, wait for the first picture, leave; every second time without goodbye."""
    readings = [{"after": 0, **await asyncio.to_thread(reading, serving)}]
    number, refused, began = 0, 0, time.monotonic()
    while number < count:
        try:
            socket = await connect(url, max_size=None, compression=None, open_timeout=30)
            try:
                while isinstance(await asyncio.wait_for(socket.recv(), 30), str):
                    pass
            except (WebSocketException, TimeoutError):  # no room: sessions of clients that are gone still wait
                refused += 1
                await asyncio.sleep(0.3)
                continue
            number += 1
            if number % 2:
                await socket.close()
            else:
                socket.transport.abort()
        except (OSError, WebSocketException, TimeoutError):
            await asyncio.sleep(0.3)
            continue
        if number % 50 == 0:
            readings.append({"after": number, **await asyncio.to_thread(reading, serving)})
            done({"readings": readings})
    await asyncio.sleep(15)  # lost clients' sessions are kept for ten
    readings.append({"after": "all, and 15 s", **await asyncio.to_thread(reading, serving)})
    return {"connections": count, "refused": refused, "seconds": round(time.monotonic() - began), "readings": readings}


def reading(serving: Serving) -> dict[str, Any]:
    """What the workers and the directory hold."""
    found: dict[str, Any] = {"sessions": len(httpx.get(f"{serving.http}/v1/sessions", timeout=60).json()["sessions"])}
    for name in ("Ingress", "Sessions"):
        for replica, process in sorted(serving.processes(name).items()):
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines() if ":" in line
            )
            found[f"{name} {replica}"] = {
                "rss_mib": int(status["VmRSS"].split()[0]) // 1024,
                "threads": int(status["Threads"]),
                "descriptors": len(os.listdir(f"/proc/{process}/fd")),
            }
    return found


if __name__ == "__main__":
    main()
