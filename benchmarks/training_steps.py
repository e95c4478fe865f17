"""Milliseconds of a training step, what of them the GPU is busy, and the kernels that keep it busy.

    python benchmarks/training_steps.py FOOTAGE --out steps.json --change gaussians=40000

Trains the dataset folder with the settings of `being clone` for a GPU and times each stage after a warm-up: STEPS steps
between two waits for the GPU, densification and all. Then the profiler looks at a few more: launches a step, time in
kernels, the kernels that take most of it. Timings need the GPU alone.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
import torch
from clone import changed, device_name
from torch.profiler import ProfilerActivity, profile

from being.dataset import Dataset
from being.progress import Silent
from being.training.data.footage import Footage
from being.training.data.speech import listen
from being.training.defaults import config_for
from being.training.fit import begin, choose_device
from being.training.loop import Stop, Trainer
from being.training.model.drawing import RenderSettings
from being.training.schedule import NETWORK, STATIC, Stage

WARM, STEPS, PROFILED = 60, 200, 8
WHOLE = 4000  # steps of the stage that these are the beginning of
MOST_KERNELS = 25


class Beginning(Stage):
    """The first `steps` steps of a stage of `WHOLE`."""

    def fraction(self, step: int, elapsed: float) -> float:
        """As the whole stage has it, until these are over."""
        return 1.0 if step >= self.steps else min(step / WHOLE, 0.999)


@click.command(help=__doc__)
@click.argument("footage", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="JSON with everything.")
@click.option("--change", "changes", multiple=True, help="FIELD=VALUE of the configuration.")
@click.option("--device", default="auto", show_default=True)
@click.option("--steps", default=STEPS, show_default=True, help="Timed steps of each stage.")
def main(footage: Path, out: Path, changes: tuple[str, ...], device: str, steps: int) -> None:
    """See the module."""
    data, work = Dataset(footage), out.with_suffix(".run")
    work.mkdir(parents=True, exist_ok=True)
    config = changed(config_for(data, device, 8.0), ["checkpoint_every_s=1e9", *changes])
    place, precision = choose_device(config)
    speech = listen(data, config, work)
    frames = Footage(data, speech.contexts, config, place, quiet=speech.quiet)
    run = begin(frames, data, speech, config)
    settings = RenderSettings(frames.background, frames.intrinsics, config.backend, precision)
    trainer = Trainer(run, frames, settings, config, None, Silent(), lambda: None, Stop())
    found: dict[str, Any] = {"device": device_name(config), "changes": changes, "footage": footage.name}
    warm = min(WARM, steps)
    for name in (STATIC, NETWORK):
        trainer.train_stage(Beginning(name, warm))
        seconds = waited(trainer, Beginning(name, warm + steps))
        found[name] = {"ms": 1e3 * seconds / steps, "gaussians": run.gaussians.count, "psnr": run.history[-1]["psnr"]}
        if place.type == "cuda":
            found[name]["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
            found[name] |= profiled(trainer, Beginning(name, warm + steps + PROFILED))
        out.write_text(json.dumps(found, indent=1))
        shown = {key: value for key, value in found[name].items() if key != "kernels"}
        click.echo(f"{name}: {json.dumps(shown)}")
        run.position = type(run.position)(stage=run.position.stage + 1)


def waited(trainer: Trainer, stage: Stage) -> float:
    """Seconds of the stage's remaining steps, until the GPU is done with them."""
    begun = time.perf_counter()
    trainer.train_stage(stage)
    if trainer.footage.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def profiled(trainer: Trainer, stage: Stage) -> dict[str, Any]:
    """What the profiler sees of the stage's remaining steps, a step."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        waited(trainer, stage)
    events = seen.key_averages()
    kernels = sorted(
        (event for event in events if str(event.device_type).endswith("CUDA")),
        key=lambda event: -event.self_device_time_total,
    )
    launched = [event.count for event in events if "LaunchKernel" in event.key or "GraphLaunch" in event.key]
    return {
        "busy_ms": sum(event.self_device_time_total for event in kernels) / 1e3 / PROFILED,
        "launches": sum(launched) / PROFILED,
        "waits": sum(event.count for event in events if "Synchronize" in event.key) / PROFILED,
        "kernels": [
            (event.key[:90], event.self_device_time_total / 1e3 / PROFILED, event.count / PROFILED)
            for event in kernels[:MOST_KERNELS]
        ],
    }


if __name__ == "__main__":
    main()
