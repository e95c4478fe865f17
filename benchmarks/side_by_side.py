"""Three people on one GPU: fitted side by side, against one after another.

    python benchmarks/side_by_side.py FOOTAGE_A FOOTAGE_B FOOTAGE_C --steps 600 2400 --json side_by_side.json
    python benchmarks/side_by_side.py --synthetic 256 --json side_by_side.json      # makes its own footage first

The work is the same both ways, and the times are compared. It runs on Ray (`pip install '.[train]'`), a third of
the GPU each; where Ray is missing, or with `--how processes`, the same `fit` runs in processes of this script's own:
to the GPU that is the same, since a fraction of a GPU only says how many Ray lets in. `--device cpu` tries the script.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import math
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import GpuWatch, Meanwhile, facts

from being.progress import JsonLines, show_each
from being.synthetic import generate
from being.training import FitConfig, fit

PEOPLE = 3
ONE_BY_ONE, SIDE_BY_SIDE = "one after another", "side by side"


def main() -> None:
    """Both ways, one table, JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", nargs="*", type=Path)
    parser.add_argument("--synthetic", type=int, metavar="SIZE", help="make footage of three people, SIZExSIZE")
    parser.add_argument("--seconds", type=float, default=8.0, help="of synthetic footage")
    parser.add_argument("--steps", nargs=2, type=int, metavar=("STATIC", "NETWORK"), default=(300, 1200))
    parser.add_argument("--gaussians", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--how", choices=("ray", "processes"), help="[default: ray where it is installed]")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    how = options.how or ("ray" if all(map(importlib.util.find_spec, ("ray", "pyarrow", "pandas"))) else "processes")

    with tempfile.TemporaryDirectory(prefix="being-side-") as folder:
        root = Path(folder)
        people = {f"person{i}": path.resolve() for i, path in enumerate(options.footage)}
        if options.synthetic:
            size, cores = (options.synthetic,) * 2, os.cpu_count() or 1
            names = [f"person{i}" for i in range(PEOPLE)]
            people = {
                name: generate(root / name, seconds=options.seconds, seed=i, size=size, workers=cores)
                for i, name in enumerate(names)
            }
        if not people:
            parser.error("give footage, or --synthetic SIZE")
        config = FitConfig(
            static_steps=options.steps[0],
            network_steps=options.steps[1],
            gaussians=options.gaussians,
            initial_gaussians=min(12_000, options.gaussians),
            batch=options.batch,
            device=options.device,
            quality_suite=False,
        )
        runs = on_ray if how == "ray" else in_processes
        # What the first process compiles (CUDA kernels, numba) stays on disk: not one of the two shall pay for it.
        warm = config.model_copy(update={"static_steps": 10, "network_steps": 10})
        first = dict([next(iter(people.items()))])
        runs(first, root / "warm", warm, 1)
        rows: dict[str, Any] = {}
        for name, at_once in ((ONE_BY_ONE, 1), (SIDE_BY_SIDE, len(people))):
            out = root / name.replace(" ", "-")
            machine, watch, begun = Meanwhile(), GpuWatch(), time.perf_counter()
            runs(people, out, config, at_once)
            wall = time.perf_counter() - begun
            documents = {person: json.loads((out / f"{person}.run" / "metrics.json").read_text()) for person in people}
            rows[name] = {
                "wall_s": wall,
                "training_s": {p: d["seconds"]["static"] + d["seconds"]["network"] for p, d in documents.items()},
                "held_out_psnr": {p: d["metrics"]["held_out_psnr"] for p, d in documents.items()},
                "stolen_percent": machine.report(wall)["stolen_percent"],
                **watch.end(),
            }
        if how == "ray":
            import ray

            ray.shutdown()
    print(f"{'':<20} {'all':>9}   {'training of each':<28} held-out PSNR")
    for name, row in rows.items():
        each = " ".join(f"{value:8.1f}" for value in row["training_s"].values())
        quality = " ".join(f"{value:6.2f}" for value in row["held_out_psnr"].values())
        print(f"{name:<20} {row['wall_s']:7.1f} s   {each} s  {quality} dB")
    share = rows[SIDE_BY_SIDE]["wall_s"] / rows[ONE_BY_ONE]["wall_s"]
    print(f"side by side takes {share:.2f} of the time")
    if options.json:
        document = {
            "what": f"{len(people)} people on one device, fitted one after another and side by side",
            "command": "python benchmarks/side_by_side.py " + " ".join(sys.argv[1:]),
            "how": how,
            "device": device_name(options.device),
            "machine": facts(),
            "config": {k: getattr(config, k) for k in ("static_steps", "network_steps", "gaussians", "batch")},
            "rows": rows,
            "share_of_time": share,
        }
        options.json.write_text(json.dumps(document, indent=1))


def on_ray(people: dict[str, Path], out: Path, config: FitConfig, at_once: int) -> None:
    """As `train.py` does it: so many at once, by the share of the GPU (or of the CPUs) that each gets."""
    import ray

    from being.ray_local import start_ray
    from being.training.cluster.job import Cluster, Person
    from being.training.cluster.ray import train

    if not ray.is_initialized():
        start_ray(include_dashboard=False, logging_level=logging.WARNING)
    resources = ray.cluster_resources()
    fraction = math.floor(1000 / at_once) / 1000 if config.device != "cpu" else None
    cpus = max(1.0, resources["CPU"] // at_once) if fraction is None else min(4.0, max(1.0, resources["CPU"] // PEOPLE))
    cluster = Cluster(storage=str(out / ".runs"), gpu_fraction=fraction, cpus=cpus)
    with show_each(list(people)) as progress:
        for outcome in train([Person(p, path) for p, path in people.items()], out, config, cluster, progress):
            if outcome.error is not None:
                raise outcome.error


def in_processes(people: dict[str, Path], out: Path, config: FitConfig, at_once: int) -> None:
    """Every person a new process, so many at once."""
    out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(at_once, maxtasksperchild=1) as pool:
        pool.starmap(one, [(path, out / person, config) for person, path in people.items()], chunksize=1)


def one(footage: Path, out: Path, config: FitConfig) -> None:
    """One person, in a process of its own."""
    import torch

    torch.set_num_threads(min(4, max(1, (os.cpu_count() or 1) // PEOPLE)))
    fit(footage, out, config, JsonLines(person=out.name))


def device_name(device: str) -> str:
    """What it ran on."""
    import torch

    return torch.cuda.get_device_name() if device.startswith("cuda") else "CPU"


if __name__ == "__main__":
    main()
