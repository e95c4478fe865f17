"""What the sound of talking sessions costs a renderer: encoded together, and one by one.

    python benchmarks/sound_encoding.py --sessions 1 --sessions 8 --sessions 64 --json sound_encoding.json

Every session talks and asks for one frame a tick, as in a live graph at its usual pace. Measured is the processor time
a frame of `SoundEncoder.encode` for all requests of a tick, and for each request by itself, in turn. The floor is the
products of the network's matrices alone: 2 steps a frame, with all sessions' rows in one matrix.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # processor time of one thread

import click
import numpy as np
from machine import facts

TICKS, SETTLING = 40, 5


@click.command()
@click.option("--sessions", default=(1, 8, 64), multiple=True, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="In turn; the medians count.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here.")
def main(sessions: tuple[int, ...], rounds: int, json_path: Path | None) -> None:
    """Measure the sound encoder."""
    report: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "machine": facts(), "runs": []}
    for count in sessions:
        runs = [[_us_a_frame(count, together) for together in (True, False)] for _ in range(rounds)]
        together, apart = (round(float(np.median(column)), 1) for column in zip(*runs, strict=True))
        row = {"sessions": count, "together_us": together, "one_by_one_us": apart, "floor_us": round(_floor(count), 1)}
        click.echo(json.dumps(row))
        report["runs"].append(row)
    if json_path is not None:
        json_path.write_text(json.dumps(report, indent=2) + "\n")


def _us_a_frame(count: int, together: bool) -> float:
    """Median processor time a frame, in microseconds."""
    from being.audio.extractors import load_extractor
    from being.audio.features import FeatureSpec
    from being.audio.windows import WindowSpec
    from being.graph.sound_encoder import EncoderRequest, SoundEncoder, audio_context_range
    from being.live.requests import FRAME_SAMPLES, FrameRequest, OutputFormat

    features, windows = FeatureSpec(name="phones"), WindowSpec(look_ahead=1)
    span = audio_context_range(load_extractor(features), windows)
    sounds = 0.1 * np.random.default_rng(0).standard_normal((count, 16_000 * 4), dtype=np.float32)
    pose = np.eye(3, 4, dtype=np.float32)[None]

    def request(session: int, frame: int) -> EncoderRequest:
        pcm = sounds[session, FRAME_SAMPLES * frame :][: span.past + span.future].copy()
        output = OutputFormat(512, 512)
        wanted = FrameRequest(str(session), "demo", 0, frame, pcm, pose, pose, np.zeros(1, np.float32), output)
        return wanted, features, windows

    encoder = SoundEncoder()
    ticks = [[request(session, frame) for session in range(count)] for frame in range(TICKS)]

    def tick(number: int) -> None:
        for part in [ticks[number]] if together else [[one] for one in ticks[number]]:
            encoder.encode(part)

    return _median_us(tick) / count


def _floor(count: int) -> float:
    from being.audio.phones import BLOCKS, STEM, Phones

    tensors = Phones().tensors
    rng = np.random.default_rng(0)
    products = []
    for conv in (*STEM, *BLOCKS):
        rows = rng.standard_normal((count * 2 * (2 if conv is STEM[0] else 1), conv.inputs), dtype=np.float32)
        products += [(rows, weight) for weight in tensors[f"{conv.name}.weight"]]
        if conv.residual:
            products.append((rows, tensors[f"{conv.name}.mix.weight"]))

    def tick(_: int) -> None:
        for rows, weight in products:
            rows @ weight

    return _median_us(tick) / count


def _median_us(tick: Callable[[int], None]) -> float:
    times = []
    for number in range(TICKS):
        started = time.thread_time()
        tick(number)
        times.append(time.thread_time() - started)
    return float(np.median(times[SETTLING:])) * 1e6


if __name__ == "__main__":
    main()
