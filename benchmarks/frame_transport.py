"""What a frame costs from the renderer's memory to the encoder's input: through shared memory, by value, and at least.

    python benchmarks/frame_transport.py --sessions 1 --sessions 8 --sessions 24 --json transport.json

A Ray Serve of its own with two replicas: a renderer that answers each tick at once with frames that were there before,
and a session worker that asks for the next frames of all its sessions every 40 ms and fills an encoder's frame with
each. Measured are the processor time of both processes above what they take when idle, and the time of a tick. The
floor is what any way takes at least: a copy of each frame into other memory (`numpy.copyto`), and from there into the
encoder's frame.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

SETTLING_TICKS = 25  # the channel opens, slabs are taken
TICK_S = 0.04
PAST, FUTURE = 12_000, 1_600  # samples a frame depends on, about as the demo's


@click.command()
@click.option("--sessions", default=(1, 8, 24), multiple=True, show_default=True)
@click.option("--size", default=512, show_default=True, help="Side of the picture.")
@click.option("--seconds", default=6.0, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="In turn; the medians count.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here.")
def main(sessions: tuple[int, ...], size: int, seconds: float, rounds: int, json_path: Path | None) -> None:
    """Measure the transports."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # for the workers
    from being.commands.serve import ENVIRONMENT
    from being.ray_local import start_ray

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP"] = "1"  # this process has no event loop; the worker sets it back
    start_ray(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    report: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "machine": facts(), "runs": []}
    workers = {transport: _worker(transport, size) for transport in ("shared", "values")}
    for count in sessions:
        runs: dict[str, list[dict[str, float]]] = {transport: [] for transport in workers}
        for _ in range(rounds):
            for transport, handle in workers.items():
                runs[transport].append(handle.measure.remote(count, seconds).result(timeout_s=300))
        row = {"sessions": count, "size": size, "floor_us": _floor(size, count)}
        for transport, results in runs.items():
            row[transport] = {key: round(float(np.median([one[key] for one in results])), 3) for key in results[0]}
            click.echo(f"{count} x {size}x{size} {transport}: {row[transport]}")
        click.echo(f"{count} x {size}x{size} floor: {row['floor_us']}")
        report["runs"].append(row)
        if json_path is not None:
            json_path.write_text(json.dumps(report, indent=2) + "\n")


def _floor(size: int, count: int) -> dict[str, float]:
    """Microseconds a frame: one copy of what is not in the caches, and the encoder's own copy of what is."""
    from being.media.contract import StreamFormat
    from being.media.video_frame import PlaneFiller

    source = np.ones((64, size * 3 // 2, size), np.uint8)
    target = np.zeros_like(source)
    fill = PlaneFiller(StreamFormat(size, size))
    copies, fills = [], []
    for number in range(512):
        at = number * 7 % 64
        started = time.perf_counter()
        np.copyto(target[at], source[-at - 1])
        copied = time.perf_counter()
        fill(target[at], 0)
        copies.append(copied - started)
        fills.append(time.perf_counter() - copied)
    return {"copy": round(1e6 * float(np.median(copies)), 1), "fill": round(1e6 * float(np.median(fills)), 1)}


def _worker(transport: str, size: int) -> Any:
    from ray import serve

    class Renderer:
        """Frames that were there before, as the real one answers them."""

        def __init__(self) -> None:
            from being.deployments.drawing import DrawingThread

            from being.graph.channel.server import ChannelServer
            from being.inference.frames import PixelFormat
            from being.inference.rendered import FrameInfo, Pictures, RenderedFrames

            pixels = np.random.default_rng(0).integers(0, 255, (64, size * 3 // 2, size), np.uint8)

            def draw(drives: Any) -> RenderedFrames:
                rows = tuple(range(len(drives)))
                first = int(drives[0].index) % (64 - len(drives)) if len(drives) < 64 else 0
                drawn = pixels[first : first + len(drives)]
                return RenderedFrames(FrameInfo.of(drives), (Pictures(rows, PixelFormat.YUV420, drawn),))

            self._thread = DrawingThread(draw)
            self._server = ChannelServer(self._order)

        async def channel(self) -> AsyncIterator[Any]:
            import ray
            from being.deployments.messages import ChannelAddress

            yield ChannelAddress(ray.get_runtime_context().get_node_id(), self._server.path, "")
            await asyncio.Event().wait()

        async def render_sound(self, batch: Any, live: bool = True) -> Any:
            return await self._thread(self._drives(batch.requests()), live=live)

        def _order(self, requests: Any, live: bool, answer: Any, contexts: Any = None) -> Any:
            return self._thread.order(self._drives(requests), answer, live=live)

        def _drives(self, requests: Any) -> Any:
            from being.graph.tick import request_drives

            context = np.zeros((8, 8, 16, 32), np.float32)
            return [drive for request in requests for drive in request_drives(request, context)]

        async def cpu(self) -> float:
            return time.process_time()

    class Worker:
        def __init__(self, renderer: Any) -> None:
            from being.deployments.ray_graph import RayGraph
            from being.deployments.settings import GraphSettings

            self._renderer = renderer
            self._graph = RayGraph(GraphSettings(transport=transport), renderer)  # type: ignore[arg-type]

        async def measure(self, count: int, seconds: float) -> dict[str, float]:
            from being.media.contract import StreamFormat
            from being.media.video_frame import PlaneFiller

            fillers = [PlaneFiller(StreamFormat(size, size)) for _ in range(count)]
            speech = np.random.default_rng(0).normal(0, 0.1, PAST + FUTURE + 640 * 4000).astype(np.float32)
            idle = await self._both_cpu()
            await asyncio.sleep(2)
            idle = (await self._both_cpu() - idle) / 2
            ticks = round(seconds / TICK_S)
            times, busy, started = [], idle, 0.0
            for tick in range(SETTLING_TICKS + ticks):
                if tick == SETTLING_TICKS:
                    busy, started = await self._both_cpu(), time.perf_counter()
                due = time.perf_counter() + TICK_S
                asked = time.perf_counter()
                records = await self._graph.submit(_tick(count, tick, speech, size))
                for record, fill in zip(records, fillers, strict=True):
                    fill(record.image, 0)
                times.append(time.perf_counter() - asked)
                del records, record
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            elapsed = time.perf_counter() - started
            worker, renderer = (await self._both_cpu() - busy - idle * elapsed) / (ticks * count) * 1e6
            return {
                "worker_us_a_frame": float(worker),
                "renderer_us_a_frame": float(renderer),
                "tick_ms_p50": 1e3 * float(np.median(times[SETTLING_TICKS:])),
                "tick_ms_p95": 1e3 * float(np.percentile(times[SETTLING_TICKS:], 95)),
            }

        async def _both_cpu(self) -> np.ndarray:
            return np.array([time.process_time(), await self._renderer.cpu.remote()])

    def _tick(count: int, first: int, speech: np.ndarray, size: int) -> list[Any]:
        from being.inference.frames import PixelFormat
        from being.live.requests import FrameRequest, OutputFormat

        poses = np.zeros((1, 3, 4), np.float32)
        output = OutputFormat(size, size, pixel_format=PixelFormat.YUV420)
        pcm = speech[640 * first : 640 * first + PAST + FUTURE]
        return [
            FrameRequest(str(row), "demo", 0, first, pcm, poses, poses, poses[:, 0, 0], output) for row in range(count)
        ]

    environment = {"env_vars": {"RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0"}}
    renderer = serve.deployment(name=f"Renderer-{transport}", ray_actor_options={"num_cpus": 0.5})(Renderer)
    worker = serve.deployment(
        name=f"Worker-{transport}", ray_actor_options={"num_cpus": 0.5, "runtime_env": environment}
    )(Worker)
    return serve.run(worker.bind(renderer.bind()), name=transport, route_prefix=None)


if __name__ == "__main__":
    main()
