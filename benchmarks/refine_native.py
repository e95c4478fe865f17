"""What the native refiner costs by how many crops are refined at once and how large they are, and how exact it is.

    python benchmarks/refine_native.py                                      # this machine
    python benchmarks/refine_native.py --device cuda --side 512 --batch 16 --json refine.json

Crops on the device in, changes on the device out, as the stage calls it: float16, CUDA graphs, random weights (the time
does not depend on them). --references gives the number of reference frames (0: none), in a chart of 1.25 texels a pixel
or 512; choosing among them, mixing and laying them onto the crops is timed with the rest. --gain is the side of the
kernel that makes detail as strong as the film's (0: none). `swapped` alternates two
people, so that weights are copied into place before every batch. Medians over the repeats. Errors are of float16
against float32, the largest of all pixels, colours in [0, 1].
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
import torch
from machine import facts

from being.refine.native.gain import kernel_of
from being.refine.native.network import RefineConfig, RefineNetwork, flops
from being.refine.native.references import View
from being.refine.native.runner import Packed, Runner
from being.training.refiner.measured_gain import SIDE
from being.training.refiner.references import FINER, MOST_TEXELS, STEP

REPEATS, CALLS = 5, 20


@click.command(help=__doc__)
@click.option("--device", default="auto", show_default=True)
@click.option("--side", "sides", multiple=True, type=int, default=(256, 512), show_default=True)
@click.option("--batch", "batches", multiple=True, type=int, default=(1, 4, 16), show_default=True)
@click.option("--references", multiple=True, type=int, default=(0, 40), show_default=True)
@click.option("--width", "widths", multiple=True, type=int, default=(48, 0), show_default=True, help="0: no network.")
@click.option("--gain", default=SIDE, show_default=True, help="0: none.")
@click.option("--calls", default=CALLS, show_default=True, help="Batches in each of the repeats.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
@torch.inference_mode()
def main(
    device: str,
    sides: tuple[int, ...],
    batches: tuple[int, ...],
    references: tuple[int, ...],
    widths: tuple[int, ...],
    gain: int,
    calls: int,
    json_path: Path | None,
) -> None:
    """See the module."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.device(device)
    gpu = where.type == "cuda"
    document: dict[str, Any] = {"machine": facts(), "device": torch.cuda.get_device_name() if gpu else "CPU"}
    document["network"] = RefineConfig().model_dump()
    rows = []
    for count, width in product(references, widths):
        for side in sides if count or width else ():
            texels = min(round(FINER * side / STEP) * STEP, MOST_TEXELS)
            config = RefineConfig(width=width, references=count, texels=texels, gain=gain)
            exact = Runner(config, where, torch.float32, graphs=False)
            runner = Runner(config, where, torch.float16, graphs=True) if gpu else exact
            people = [weights(config, seed) for seed in (0, 1)]
            packed, reference = ([one.packed(state) for state in people] for one in (runner, exact))
            for batch in batches:
                crops, alpha, view = inputs(batch, side, where)
                row: dict[str, Any] = {"references": count, "width": width, "gain": gain, "side": side, "batch": batch}
                row["gflop_each"] = flops(config, side) / 1e9
                for name, people_in_turn in (("", 1), ("swapped_", 2)):
                    seconds = timed(runner, packed[:people_in_turn], crops, alpha, view, calls)
                    row[f"{name}frames_per_s"] = batch / seconds
                row |= exactness(runner, exact, packed[0], reference[0], crops, alpha, view)
                rows.append(row)
                shown = {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
                click.echo(json.dumps(shown))
    document["rows"] = rows
    if gpu:
        document["peak_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
    if json_path is not None:
        json_path.write_text(json.dumps(document, indent=1) + "\n")


def inputs(batch: int, side: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, View]:
    """Crops, coverage, and heads 8 dm away that turn to and fro."""
    angles = torch.linspace(-0.3, 0.3, batch)
    poses = torch.eye(3, 4).repeat(batch, 1, 1)
    poses[:, 0, 0] = poses[:, 2, 2] = angles.cos()
    poses[:, 0, 2], poses[:, 2, 0], poses[:, 2, 3] = angles.sin(), -angles.sin(), 8.0
    cameras = torch.tensor([[4.0 * side, 4.0 * side, side / 2, side / 2]]).repeat(batch, 1)
    view = View(torch.full((batch, 1, side, side), 8.0, device=device), cameras.to(device), poses.to(device))
    return torch.rand(batch, 3, side, side, device=device), torch.rand(batch, 1, side, side, device=device), view


def weights(config: RefineConfig, seed: int) -> dict[str, torch.Tensor]:
    """Random weights of a network that changes something, and references of random differences on a plane."""
    torch.manual_seed(seed)
    network = RefineNetwork(config)
    for name, value in network.named_parameters():
        if name.endswith("weight"):
            torch.nn.init.normal_(value, std=0.02)
    if network.gain is not None:
        network.gain.copy_(kernel_of(torch.linspace(1, 1.5, 32), config.gain))
    if (references := network.references) is not None:
        references.differences.random_(98, 158)
        references.thumbs.uniform_(0, 255)
        references.points[..., :2].uniform_(-1, 1)
        references.covered.fill_(1)
        references.pose[2, 3] = 8
        half = config.texels / 2
        references.camera.copy_(torch.tensor([8 * half, 8 * half, half, half]))
        references.to("cuda" if torch.cuda.is_available() else "cpu").solve()
        references.cpu()
    return network.state_dict()


def timed(
    runner: Runner, people: Sequence[Packed], crops: torch.Tensor, alpha: torch.Tensor, view: View, calls: int
) -> float:
    """Seconds of a call, the people taking turns: the median of the repeats."""
    found = []
    for repeat in range(REPEATS + 1):
        start = time.perf_counter()
        for call in range(calls):
            runner.run(people[call % len(people)], crops, alpha, view)
        if crops.is_cuda:
            torch.cuda.synchronize()
        if repeat:  # the first captures and warms up
            found.append((time.perf_counter() - start) / calls)
    return statistics.median(found)


def exactness(
    runner: Runner,
    exact: Runner,
    packed: Packed,
    reference: Packed,
    crops: torch.Tensor,
    alpha: torch.Tensor,
    view: View,
) -> dict[str, Any]:
    """Against float32, a batch against one by one, and whether a row that changes leaves the others alone."""
    made, wanted = runner.run(packed, crops, alpha, view), exact.run(reference, crops, alpha, view)
    out: dict[str, Any] = {"error": float((made - wanted).abs().max()), "largest_change": float(wanted.abs().max())}
    if len(crops) > 1:
        few = min(len(crops), 4)
        parts = [slice(i, i + 1) for i in range(few)]
        places = [View(view.depth[one], view.cameras[one], view.poses[one]) for one in parts]
        alone = torch.cat(
            [exact.run(reference, crops[one], alpha[one], place) for one, place in zip(parts, places, strict=True)]
        )
        out["float32_batch_against_one_by_one"] = float((alone - wanted[:few]).abs().max())
        other = crops.clone()
        other[1] = 1 - other[1]
        again = runner.run(packed, other, alpha, view)
        out["other_rows_identical"] = all(torch.equal(again[i], made[i]) for i in range(len(crops)) if i != 1)
    return out


if __name__ == "__main__":
    main()
