"""What refining costs: one step of a diffusion model by batch and size, alone and behind the renderer.

    python benchmarks/refine.py --json refine.json                     # full-size random weights, on the GPU
    python benchmarks/refine.py --model stabilityai/sd-turbo --size 256 --size 512 --batch 1 --batch 8
    python benchmarks/refine.py --device cpu --model FOLDER --autoencoder FOLDER/taesd --size 64 --batch 2

Random weights cost what trained ones cost. Medians; milliseconds on the GPU by its own clock, and from the call until
the pixels are there. Behind the renderer: drives in main memory to 4:2:0 planes in main memory, the demo avatar's own
motion, every frame refined. Beside the refiner's figures their floor: 0.8 TFLOP a pass of the UNet at 512x512 and 0.26
for TAESD both ways, at the rate of a large matrix product in half precision.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from being.idle_threads import let_idle_threads_sleep

let_idle_threads_sleep()  # as the being command does

import numpy as np
import torch
from machine import facts
from silent_drive import silent_drive

from being.avatar.library import PACKAGED, Library
from being.inference.engine import Engine
from being.inference.frames import PixelFormat
from being.model.device import device_of
from being.refine.contract import Conditions, CropRows
from being.refine.stage import RefineStage
from being.refine.streamdiffusion import load
from being.refine.streamdiffusion.graphs import Graphs
from being.refine.streamdiffusion.network import Network
from being.refine.streamdiffusion.package_step import installed
from being.refine.streamdiffusion.refiner import StreamDiffusionRefiner
from being.refine.streamdiffusion.told import COLUMNS, MAP

AVATAR = "demo"
TFLOP_A_CROP = 0.8 + 0.26  # at 512 x 512
MATRIX = 8192  # side


class Bench:
    """Rows as they come: printed, and written after each."""

    def __init__(self, device: torch.device, path: Path | None, turns: int) -> None:
        self.device, self.path, self.turns = device, path, turns
        self.document: dict[str, Any] = {
            "what": "refining by one step of a diffusion model: milliseconds a batch, frames a second",
            "command": " ".join(["python", *(part for part in sys.argv if not part.startswith("/"))]),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
            "machine": facts(),
            "rows": [],
        }

    def note(self, **row: Any) -> None:
        self.document["rows"].append(row)
        click.echo(json.dumps(row))
        if self.path is not None:
            self.path.write_text(json.dumps(self.document, indent=1) + "\n")

    def part(self, name: str, measured: Callable[[], dict[str, Any]]) -> None:
        """One row; what fails is noted and the rest goes on."""
        begun = time.perf_counter()
        try:
            row = measured()
        except Exception as error:
            row = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
        self.note(part=name, **row, took_s=round(time.perf_counter() - begun, 1))

    def timed(self, call: Callable[[], Any]) -> dict[str, float]:
        """Median milliseconds of a call: `wall_ms` until its work is done, `gpu_ms` between events around it."""
        walls, clocks = [], []
        for turn in range(self.turns + 3):
            events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if self.device.type == "cuda" else []
            self._wait()
            begun = time.perf_counter()
            for event in events[:1]:
                event.record()
            call()
            for event in events[1:]:
                event.record()
            self._wait()
            if turn >= 3:
                walls.append(1000 * (time.perf_counter() - begun))
                clocks += [events[0].elapsed_time(events[1])] if events else []
        found = {"wall_ms": round(statistics.median(walls), 3)}
        if clocks:
            found["gpu_ms"] = round(statistics.median(clocks), 3)
        return found

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@click.command(help=__doc__)
@click.option("--device", default="auto", show_default=True)
@click.option("--model", default="random", show_default=True, help="As the refiner's option.")
@click.option("--autoencoder", default="madebyollin/taesd", show_default=True)
@click.option("--through", default="direct", show_default=True)
@click.option("--size", "sizes", multiple=True, type=int, default=(512,), show_default=True)
@click.option("--batch", "batches", multiple=True, type=int, default=(1, 8), show_default=True)
@click.option("--turns", default=30, show_default=True, help="Calls a median is taken of.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures here, after each of them.")
@torch.inference_mode()
def main(
    device: str,
    model: str,
    autoencoder: str,
    through: str,
    sizes: tuple[int, ...],
    batches: tuple[int, ...],
    turns: int,
    path: Path | None,
) -> None:
    """See the module."""
    place = device_of(device)
    bench = Bench(place, path, turns)
    options = {"model": model, "autoencoder": autoencoder, "through": through, "sizes": sizes, "batches": batches}
    library = Library([PACKAGED])
    rate = matrix_rate(bench)
    bench.note(part="matrix product", tflop_s=rate)
    begun = time.perf_counter()
    refiner = load(options, library, place)
    assert isinstance(refiner, StreamDiffusionRefiner)
    bench.note(part="load and record", took_s=round(time.perf_counter() - begun, 1), **memory(place, reset=True))
    for size in sizes:
        for count in batches:
            bench.part("refine", lambda size=size, count=count: refined(bench, refiner, size, count, rate))
    bench.note(part="memory while refining", **memory(place))
    for count in batches:
        bench.part("steps", lambda count=count: steps(bench, refiner, sizes[-1], count))
    for width, height in ((512, 512), (1920, 1080)):
        engine = Engine(library, str(place), stages=[RefineStage(refiner)])
        for count in batches:
            for strength in (0.0, 1.0):
                bench.part(
                    "render and refine" if strength else "render",
                    lambda args=(engine, width, height, count, strength): rendered(bench, *args),
                )
    bench.note(part="memory with the renderer", **memory(place))
    if installed():
        bench.part("through the package", lambda: by_package(bench, refiner, sizes[-1], batches[0]))
    bench.part("rows apart", lambda: mixing(refiner, sizes[-1], batches[-1]))
    bench.part("kernels against their twins", lambda: differences(refiner, sizes[-1]))


def matrix_rate(bench: Bench) -> float:
    """TFLOP/s of one large product in half precision (of a small one on a CPU)."""
    on_gpu = bench.device.type == "cuda"
    side = MATRIX if on_gpu else 512
    a, b = (torch.randn(side, side, device=bench.device, dtype=torch.half if on_gpu else torch.float) for _ in "ab")
    spent = bench.timed(lambda: a @ b)
    return round(2 * side**3 / spent.get("gpu_ms", spent["wall_ms"]) / 1e9, 3)


def refined(bench: Bench, refiner: StreamDiffusionRefiner, size: int, count: int, rate: float) -> dict[str, Any]:
    """The refiner alone, crops on the device."""
    crops = torch.rand(count, 3, size, size, device=bench.device)
    conditions = Conditions(torch.ones(count, 1, size, size, device=bench.device))
    rows = rows_of(refiner, size, count)
    spent = bench.timed(lambda: refiner.refine(crops, conditions, rows))
    milliseconds = spent.get("gpu_ms", spent["wall_ms"])
    floor = 1000 * count * TFLOP_A_CROP * (size / 512) ** 2 / rate
    return {
        "size": size,
        "batch": count,
        **spent,
        "frames_a_second": round(1000 * count / spent["wall_ms"], 1),
        "floor_ms": round(floor, 2),
        "of_floor": round(milliseconds / floor, 2),
    }


def rows_of(refiner: StreamDiffusionRefiner, size: int, count: int) -> CropRows:
    """As many sessions of the demo avatar."""
    refiner.prepare(AVATAR)
    pose = np.eye(3, 4, dtype=np.float32)
    pose[1:, 1:3] *= -1
    pose[2, 3] = 8
    return CropRows(
        (AVATAR,) * count,
        tuple(f"session{row}" for row in range(count)),
        np.zeros(count, np.int64),
        np.arange(count),
        np.tile(pose, (count, 1, 1)),
        np.tile(np.array([0, 0, size, size], np.float32), (count, 1)),
        (size, size),
        np.ones(count, np.float32),
        np.arange(count, dtype=np.int64) % 32,
    )


def steps(bench: Bench, refiner: StreamDiffusionRefiner, size: int, count: int) -> dict[str, Any]:
    """Encoding, denoising and decoding by themselves."""
    network = refiner.network()
    pictures = torch.rand(count, 3, size, size, device=bench.device)
    latents = torch.randn(count, size // 8, size // 8, 4, device=bench.device).to(network.dtype)
    places = torch.zeros(count, dtype=torch.long, device=bench.device)
    found: dict[str, Any] = {"size": size, "batch": count}
    graphs = Graphs(bench.device)
    for name, call, given in (
        ("encode", network.autoencoder.encode, (pictures,)),
        ("denoise", network.denoiser, (latents, places)),
        ("decode", network.autoencoder.decode, (latents,)),
    ):
        graphs.record(name, call, *given)
        spent = bench.timed(lambda name=name, call=call, given=given: graphs(name, call, count, *given))
        found[f"{name}_ms"] = spent.get("gpu_ms", spent["wall_ms"])
    return found


def rendered(bench: Bench, engine: Engine, width: int, height: int, count: int, strength: float) -> dict[str, Any]:
    """Drives to planes in main memory."""
    renderable = engine.prepare(AVATAR)
    how = {"width": width, "height": height, "pixel_format": PixelFormat.YUV420, "refine": strength}
    drives = [silent_drive(renderable, AVATAR, frame, session=f"session{frame}", **how) for frame in range(count)]
    wrong = [record.error for record in engine.render(drives) if record.error]
    if wrong:
        raise RuntimeError(wrong[0])
    spent = bench.timed(lambda: engine.render(drives))
    box = renderable.face_box(drives[0].head_pose, width, height)
    return {
        "frame": f"{width}x{height}",
        "face_box": None if box is None else [round(side) for side in box],
        "batch": count,
        "wall_ms": spent["wall_ms"],
        "frames_a_second": round(1000 * count / spent["wall_ms"], 1),
    }


def memory(device: torch.device, reset: bool = False) -> dict[str, float]:
    """Most of the GPU's memory that was allocated, and taken, since the last reset; GiB."""
    if device.type != "cuda":
        return {}
    found = {
        "allocated_gib": round(torch.cuda.max_memory_allocated(device) / 2**30, 2),
        "taken_gib": round(torch.cuda.max_memory_reserved(device) / 2**30, 2),
    }
    if reset:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return found


def by_package(bench: Bench, refiner: StreamDiffusionRefiner, size: int, count: int) -> dict[str, Any]:
    """The network's step as StreamDiffusion makes it, beside ours."""
    network = refiner.network()
    crops, told = example(network, size, count)
    graphs, answers = Graphs(bench.device), []
    found: dict[str, Any] = {"size": size, "batch": count}
    timestep = network.denoiser.timesteps[0]
    for name, step in (("direct", network.direct), ("package", network.through_package(timestep, count, size))):
        graphs.record(name, partial(network.refine, step), crops, told)
        run = partial(graphs, name, partial(network.refine, step), count, crops, told)
        spent = bench.timed(run)
        found[f"{name}_ms"] = spent.get("gpu_ms", spent["wall_ms"])
        answers.append(run().clone())
    return {**found, "mean_difference": float((answers[0] - answers[1]).abs().mean())}


def mixing(refiner: StreamDiffusionRefiner, size: int, count: int) -> dict[str, Any]:
    """How many rows change by a bit where the last one's picture and pose do; and each row alone beside the batch."""
    crops, _ = example(refiner.network(), size, count)
    conditions = Conditions(torch.ones_like(crops[:, :1]))
    rows = rows_of(refiner, size, count)
    before = refiner.refine(crops, conditions, rows).clone()
    alone = [refiner.refine(crops[row : row + 1], conditions, rows.take([row])).clone() for row in range(count)]
    other = crops.clone()
    other[-1] = 1 - other[-1]
    rows.head_poses[-1, 0, 3] += 0.1
    after = refiner.refine(other, conditions, rows)
    changed = (before != after).flatten(1).any(1)
    return {
        "size": size,
        "batch": count,
        "rows_changed": int(changed.sum()),
        "the_one_that_should": bool(changed[-1]),
        "alone_max_difference": float((torch.cat(alone) - before).abs().max()),
    }


def example(network: Network, size: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops, and what is told of them."""
    crops = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)).to(network.device)
    told = torch.zeros(count, COLUMNS, device=network.device)
    told[:, MAP] = torch.tensor([1.0, 0.01, 0.3, -0.01, 1.0, 0.3, 0, 0, 1, 0.125], device=network.device)
    return crops, told


def differences(refiner: StreamDiffusionRefiner, size: int) -> dict[str, float]:
    """Two crops refined by the kernels and by their twins, in the network's precision."""
    from being.refine.streamdiffusion import twins

    network: Network = refiner.network()
    crops, told = example(network, size, 2)
    by_kernels = network.refine(network.direct, crops, told)
    network.use(twins)
    by_twins = network.refine(network.direct, crops, told)
    return {
        "mean": float((by_kernels - by_twins).abs().mean()),
        "max": float((by_kernels - by_twins).abs().max()),
        "deviation": float(by_twins.std()),
    }


if __name__ == "__main__":
    main()
