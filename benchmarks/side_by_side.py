"""Three people on one GPU: side by side on a third each, against one after another.

    python benchmarks/side_by_side.py FOOTAGE_A FOOTAGE_B FOOTAGE_C --minutes 2 --json side_by_side.json
    python benchmarks/side_by_side.py --synthetic 128 --steps 400 1600          # makes its own footage first

Needs Ray on this machine (`pip install 'being[train]'`) and a GPU; `--device cpu` tries the script itself. With steps
the work is the same and the times are compared; with minutes the times are the same and the quality is compared.
NVIDIA MPS (`nvidia-cuda-mps-control -d` before) lets the three share the device at once instead of by turns: run the
script with and without it.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

PEOPLE = 3


def main() -> None:
    """Both ways, one table, JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", nargs="*", type=Path)
    parser.add_argument("--synthetic", type=int, metavar="SIZE", help="make 12 s of three synthetic people, SIZExSIZE")
    parser.add_argument("--steps", nargs=2, type=int, metavar=("STATIC", "NETWORK"), default=(600, 2400))
    parser.add_argument("--minutes", type=float, help="instead of steps")
    parser.add_argument("--gaussians", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    import ray

    from being.training import FitConfig
    from being.training.cluster import Cluster, Person
    from being.training.progress import show_each
    from being.training.ray import train

    with tempfile.TemporaryDirectory(prefix="being-side-") as root:
        folders = options.footage
        if options.synthetic:
            from being.dataset.synthetic import generate

            folders = [
                generate(Path(root) / f"person{i}", seconds=12, seed=i, size=(options.synthetic,) * 2)
                for i in range(PEOPLE)
            ]
        if not folders:
            parser.error("give footage, or --synthetic SIZE")
        people = [Person(f"person{i}", folder) for i, folder in enumerate(folders)]
        config = FitConfig(
            minutes=options.minutes,
            static_steps=options.steps[0],
            network_steps=options.steps[1],
            gaussians=options.gaussians,
            initial_gaussians=min(12_000, options.gaussians),
            batch=options.batch,
            device=options.device,
        )
        on_gpu = options.device != "cpu"
        ray.init(include_dashboard=False, logging_level=logging.WARNING)
        rows: dict[str, Any] = {}
        with show_each([person.id for person in people]) as progress:
            for name, fraction in (("one after another", 1.0), ("side by side", round(1 / len(people) - 0.005, 3))):
                out = Path(root) / name.replace(" ", "-")
                cluster = Cluster(
                    storage=str(out / ".runs"),
                    gpu_fraction=fraction if on_gpu else None,
                    cpus=None if on_gpu else (ray.cluster_resources()["CPU"] if fraction == 1 else 1),
                )
                begun = time.perf_counter()
                outcomes = train(people, out, config, cluster, progress)
                wall = time.perf_counter() - begun
                for outcome in outcomes:
                    if outcome.error is not None:
                        raise outcome.error
                rows[name] = {
                    "wall_s": wall,
                    "each_s": {o.person.id: o.seconds for o in outcomes},
                    "held_out_psnr": {o.person.id: o.metrics.get("held_out_psnr") for o in outcomes},
                    "training_s": {o.person.id: trained_s(out / f"{o.person.id}.run") for o in outcomes},
                }
        ray.shutdown()
    print(f"{'':<20} {'all':>9}   {'each':<28} held-out PSNR")
    for name, row in rows.items():
        each = " ".join(f"{value:8.1f}" for value in row["each_s"].values())
        quality = " ".join(f"{value:6.2f}" for value in row["held_out_psnr"].values())
        print(f"{name:<20} {row['wall_s']:7.1f} s   {each} s  {quality} dB")
    print(f"side by side takes {rows['side by side']['wall_s'] / rows['one after another']['wall_s']:.2f} of the time")
    if options.json:
        settings = {"steps": options.steps, "minutes": options.minutes, "gaussians": options.gaussians}
        settings |= {"batch": options.batch, "mps": mps(), "footage": [str(folder.name) for folder in folders]}
        options.json.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1))


def trained_s(work: Path) -> float:
    """Seconds in both stages, without starting and reading."""
    seconds = json.loads((work / "metrics.json").read_text())["seconds"]
    return float(seconds["static"] + seconds["network"])


def mps() -> bool:
    """Whether an MPS daemon runs here."""
    return subprocess.run(["pgrep", "-f", "nvidia-cuda-mps"], capture_output=True).returncode == 0


if __name__ == "__main__":
    main()
