"""What refined frames cost beside plain ones: drives in main memory to 4:2:0 planes in main memory, in batches.

    python benchmarks/refined_frames.py AVATAR                      # an avatar that has a refiner of its own
    python benchmarks/refined_frames.py AVATAR --batch 5 --batch 64 --json frames.json
    python benchmarks/refined_frames.py AVATAR --batch 16 --profile # and where the host's time goes

Medians. `host_ms` is what the drawing thread's own processor time takes, waiting for the GPU among it where the driver
waits by looking again and again.
"""

from __future__ import annotations

import cProfile
import io
import json
import pstats
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import click

from being.idle_threads import let_idle_threads_sleep

let_idle_threads_sleep()  # as the being command does

import torch
from machine import facts
from silent_drive import silent_drive

from being.avatar.folder import read_manifest
from being.avatar.library import Library
from being.inference.engine import Engine
from being.inference.frames import Drive, PixelFormat
from being.refine.load import load_stage
from being.refine.settings import RefinerSettings

TURNS = 40
SHOWN = 45  # functions of a profile


@click.command(help=__doc__)
@click.argument("avatar", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--device", default="auto", show_default=True)
@click.option("--size", type=int, default=512, show_default=True, help="Side of the frames.")
@click.option("--batch", "batches", multiple=True, type=int, default=(1, 5, 16, 32, 64), show_default=True)
@click.option("--turns", default=TURNS, show_default=True)
@click.option("--profile", "profiled", is_flag=True)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures here.")
def main(
    avatar: Path, device: str, size: int, batches: tuple[int, ...], turns: int, profiled: bool, path: Path | None
) -> None:
    """See the module."""
    library, name = Library([avatar.parent]), read_manifest(avatar).id
    settings = RefinerSettings(backend="native", device=device)
    stage = load_stage(settings, library)
    engine = Engine(library, device, stages=[stage])
    gpu = torch.cuda.get_device_name() if engine.device.type == "cuda" else None
    document: dict[str, Any] = {
        "what": "drives to 4:2:0 planes in main memory, plain and refined by the native refiner: milliseconds a batch",
        "command": " ".join(["python", *(part for part in sys.argv if not part.startswith("/"))]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": facts() | {"gpu": gpu},
        "rows": [],
    }
    for count in batches:
        for strength in (0.0, 1.0):
            drives = drives_of(engine, name, size, count, strength)
            if strength and not stage.concerns(drives[0]):
                raise click.ClickException(f"{avatar} has no refiner: make one with being fit-refiner")
            row: dict[str, Any] = {"size": f"{size}x{size}", "batch": count, "refine": strength}
            row |= timed(engine, drives, turns)
            document["rows"].append(row)
            click.echo(json.dumps(row))
            if profiled:
                click.echo(profile(engine, drives, turns))
            if path is not None:
                path.write_text(json.dumps(document, indent=1) + "\n")


def drives_of(engine: Engine, avatar: str, size: int, count: int, strength: float) -> list[Drive]:
    """As many sessions' next frames."""
    renderable = engine.prepare(avatar)
    how = {"width": size, "height": size, "pixel_format": PixelFormat.YUV420, "refine": strength}
    drives = [silent_drive(renderable, avatar, 3 * row, session=f"session{row}", **how) for row in range(count)]
    if wrong := [record.error for record in engine.render(drives) if record.error]:
        raise click.ClickException(wrong[0])
    return drives


def timed(engine: Engine, drives: list[Drive], turns: int) -> dict[str, float]:
    """Medians over the turns, the first ones left out."""
    wall, host = [], []
    for turn in range(turns + 5):
        began, own = time.perf_counter(), time.thread_time()
        engine.render_frames(drives)
        if turn >= 5:
            wall.append(time.perf_counter() - began)
            host.append(time.thread_time() - own)
    seconds = statistics.median(wall)
    return {
        "wall_ms": round(1e3 * seconds, 3),
        "host_ms": round(1e3 * statistics.median(host), 3),
        "frames_a_second": round(len(drives) / seconds, 1),
    }


def profile(engine: Engine, drives: list[Drive], turns: int) -> str:
    """The functions that take longest themselves."""
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(turns):
        engine.render_frames(drives)
    profiler.disable()
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(SHOWN)
    return text.getvalue()


if __name__ == "__main__":
    main()
