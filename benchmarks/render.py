"""End to end: seconds of sound through an avatar into MP4, frames a second and time by stage.

    python benchmarks/render.py                              the demo avatar, its own size, 16 s of the sample sentence
    python benchmarks/render.py --size 256x256 --size 512x512 --sound speech.wav --json render.json

Stages overlap (a batch is encoded while the next one is drawn), so their sum may exceed the elapsed time.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from being.idle_threads import let_idle_threads_sleep

let_idle_threads_sleep()  # as the being command does

import click
import numpy as np

LIVE_FRAMES = 50


@dataclass(frozen=True)
class Run:
    """One render. Times in seconds, stage times in milliseconds a frame."""

    size: str
    frames: int
    elapsed_s: float
    frames_per_second: float
    real_time: float
    features_ms: float
    draw_ms: float
    encode_ms: float
    cpu_ms: float  # of all threads; a busy machine disturbs it less than the others
    live_ms: float  # one frame alone through the engine, as a live session asks for it
    live_cpu_ms: float  # of all threads, the same


@click.command()
@click.option("--avatar", default="demo", show_default=True, help="Id or folder.")
@click.option("--sound", type=click.Path(path_type=Path), help="Sound file [default: the sample sentence, repeated].")
@click.option("--seconds", default=16.0, show_default=True, help="Length rendered; the sound is repeated or cut.")
@click.option("--size", "sizes", multiple=True, metavar="WxH", help="May be repeated [default: as recorded].")
@click.option("--repeat", default=3, show_default=True, help="Runs a size; the median is in the table.")
@click.option("--device", default="auto", show_default=True)
@click.option("--form", default="auto", show_default=True, help="Network: auto, full, pruned, pca, distilled, off.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here.")
def main(
    avatar: str,
    sound: Path | None,
    seconds: float,
    sizes: tuple[str, ...],
    repeat: int,
    device: str,
    form: str,
    json_path: Path | None,
) -> None:
    """Measure `being render`."""
    started = time.perf_counter()
    from being.commands.render import find_avatar, parse_size
    from being.graph.local import InProcessGraph
    from being.graph.offline import warm_up
    from being.inference.engine import Engine
    from being.inference.frames import PixelFormat
    from being.live.requests import OutputFormat
    from being.media.reading.sound_reader import open_sound
    from being.samples import HELLO

    library, manifest = find_avatar(avatar)
    graph = InProcessGraph(Engine(library, device, form))  # type: ignore[arg-type]
    facts = asyncio.run(graph.prepare(manifest.id))
    loaded_s = time.perf_counter() - started
    read_s = time.perf_counter()
    spoken = open_sound(sound or HELLO)
    model_pcm = fitted(spoken.model_pcm(), round(seconds * 16_000))
    playback_pcm = fitted(spoken.playback_pcm(), round(seconds * 48_000))
    read_s = time.perf_counter() - read_s
    runs: list[Run] = []
    warm_up_s = None
    for width, height in [parse_size(size) for size in sizes] or [(manifest.width, manifest.height)]:
        output = OutputFormat(width, height, pixel_format=PixelFormat.YUV420)
        started = time.perf_counter()
        asyncio.run(warm_up(graph, facts, output))
        warm_up_s = warm_up_s or time.perf_counter() - started
        runs += [measure(graph, facts, output, model_pcm, playback_pcm) for _ in range(repeat)]
    graph.close()

    machine = {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
    }
    result = {
        "avatar": manifest.id,
        "gaussians": manifest.gaussians,
        "form": manifest.approximation if form == "auto" else form,
        "device": str(graph.engine.device),
        "look_ahead_ms": round(1000 * facts.audio_range.look_ahead_s),
        "start_s": {"load": loaded_s, "read": read_s, "warm_up": warm_up_s},
        "machine": machine,
        "runs": [asdict(run) for run in runs],
    }
    if json_path is not None:
        json_path.write_text(json.dumps(result, indent=2) + "\n")
    report(result, runs)


def measure(graph, facts, output, model_pcm, playback_pcm) -> Run:  # type: ignore[no-untyped-def]
    """Render once into a file that is thrown away."""
    from being.graph.offline import perform, whole
    from being.media import StreamFormat, open_writer
    from being.media.writer_sink import WriterSink

    live_ms, live_cpu_ms = live_frames(graph.engine, facts, output)
    before, cpu_s = dict(graph.seconds), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        format = StreamFormat(output.width, output.height, sound_channels=playback_pcm.shape[1])
        with open_writer(Path(folder) / "out.mp4", format) as writer:
            spoken, channels = whole(model_pcm, playback_pcm), playback_pcm.shape[1]
            totals = asyncio.run(perform(graph, facts, output, spoken, WriterSink(writer), channels=channels))
    frame_ms = 1000 / totals.frames
    return Run(
        size=f"{output.width}x{output.height}",
        frames=totals.frames,
        elapsed_s=totals.elapsed_s,
        frames_per_second=totals.frames / totals.elapsed_s,
        real_time=len(model_pcm) / 16_000 / totals.elapsed_s,
        features_ms=(graph.seconds["features"] - before["features"]) * frame_ms,
        draw_ms=(graph.seconds["draw"] - before["draw"]) * frame_ms,
        encode_ms=totals.sink_s * frame_ms,
        cpu_ms=(time.process_time() - cpu_s) * frame_ms,
        live_ms=live_ms,
        live_cpu_ms=live_cpu_ms,
    )


def live_frames(engine, facts, output) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """Median wall and mean CPU milliseconds of LIVE_FRAMES frames in silence, drawn one by one to planes."""
    from being.inference.frames import Drive, Extras, PixelFormat

    config, motion = engine.prepare(facts.id).network.config, facts.motion
    silence = np.zeros((config.audio_frames, config.audio_window, config.audio_width), np.float32)
    walls = []
    cpu_s = time.process_time()
    for frame in range(LIVE_FRAMES):
        at = frame % len(motion.eye)
        poses = (motion.head_pose[at], motion.torso_pose[at])
        size = {"width": output.width, "height": output.height}
        drive = Drive(
            facts.id, silence, float(motion.eye[at]), *poses, **size, pixel_format=PixelFormat.YUV420,
            extras=Extras.NONE,
        )  # fmt: skip
        started = time.perf_counter()
        engine.render([drive])
        walls.append(time.perf_counter() - started)
    return 1000 * statistics.median(walls), 1000 * (time.process_time() - cpu_s) / LIVE_FRAMES


def fitted(sound: np.ndarray, length: int) -> np.ndarray:
    """The sound, repeated or cut to a length."""
    return np.concatenate([sound] * -(-length // len(sound)))[:length]


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def report(result: dict, runs: list[Run]) -> None:
    """One table, a row a size with the medians."""
    from rich.console import Console
    from rich.table import Table

    machine, start = result["machine"], result["start_s"]
    title = (
        f"{result['avatar']} ({result['gaussians']:,} Gaussians, {result['form']}) on {result['device']}, "
        f"{machine['cores']} cores of {machine['processor']}, look-ahead {result['look_ahead_ms']} ms"
    )
    table = Table(title=title, title_justify="left")
    for name in (
        "size",
        "frames",
        "frames/s",
        "x real time",
        "features ms",
        "draw ms",
        "encode ms",
        "CPU ms",
        "live ms",
        "live CPU ms",
    ):
        table.add_column(name, justify="right")
    for size in dict.fromkeys(run.size for run in runs):
        same = [run for run in runs if run.size == size]
        names = (
            "frames_per_second",
            "real_time",
            "features_ms",
            "draw_ms",
            "encode_ms",
            "cpu_ms",
            "live_ms",
            "live_cpu_ms",
        )
        medians = [statistics.median(getattr(run, name) for run in same) for name in names]
        table.add_row(size, str(same[0].frames), *(f"{value:.2f}" for value in medians))
    console = Console(file=sys.stdout)
    console.print(table)
    console.print(f"load {start['load']:.1f} s, read {start['read']:.1f} s, warm-up {start['warm_up']:.1f} s")


if __name__ == "__main__":
    main()
