"""How long a command takes from start to end: wall clock and CPU seconds of the process, old tree and new in turn.

    python benchmarks/startup.py --against OLD_CHECKOUT --runs 5 --json startup.json

The first run of each tree compiles and is not counted.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

COMMANDS = {"help": ["--help"], "render": ["render", "--sample", "--force", "-o"]}


def timed(tree: Path, arguments: list[str]) -> dict[str, float]:
    """One run of `python -m being` from a tree."""
    before, started = os.times(), time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "being", *arguments]
    subprocess.run(command, env=environment, cwd=tree, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return {"wall_s": round(wall, 3), "cpu_s": round(cpu, 3), "load": round(os.getloadavg()[0], 1)}


@click.command()
@click.option("--against", type=click.Path(path_type=Path, exists=True), help="A checkout of the code before.")
@click.option("--runs", default=5, show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path))
def main(against: Path | None, runs: int, out: Path | None) -> None:
    """Time the trees in turn."""
    trees = {"new": Path(__file__).resolve().parents[1]} | ({"old": against.resolve()} if against else {})
    found: dict[str, object] = {"command": "python -m being ARGUMENTS", "cores": os.cpu_count()}
    found["load_before"] = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        for name, given in COMMANDS.items():
            arguments = [*given, f"{folder}/hello.mp4"] if name == "render" else given
            results: dict[str, list[dict[str, float]]] = {tree: [] for tree in trees}
            for run in range(runs + 1):
                for tree, path in trees.items():
                    result = timed(path, arguments)
                    if run:
                        results[tree].append(result)
            median = {
                tree: {key: statistics.median(one[key] for one in many) for key in ("wall_s", "cpu_s")}
                for tree, many in results.items()
            }
            found[name] = {"arguments": " ".join(given), "median": median, "runs": results}
            click.echo(f"{name}: {median}")
    found["load_after"] = round(os.getloadavg()[0], 1)
    if out is not None:
        out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
