"""Files as people have them, by the hundred, made on the spot: Being against ffmpeg.

    python benchmarks/inputs.py sound --out benchmarks/results/inputs_sound.json
    python benchmarks/inputs.py sound --only joined --keep /tmp/files       a few of them, to look at

Each variant is a small file made with ffmpeg (and PyAV where it lacks something), read by Being in a process of its own
(30 s, its peak memory measured) and compared with what ffmpeg makes of it. The exit status is 1 where a difference is
not explained by Being's own notes. A kind of input is a module with `variants()` and `check(variant, path)`: see KINDS.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from ffmpeg import versions

KINDS = {"film": "film_inputs", "sound": "sound_inputs"}  # kind -> module
LONGEST_S = 30.0
MOST_MB = 1024


@dataclass(frozen=True)
class Variant:
    """One input file.

    Attributes
    ----------
    group, name : what it varies, and how. make : writes it into an empty folder and returns its path.
    expect : "read", or "refused": one line, no traceback.
    facts : what `check` must know.
    """

    group: str
    name: str
    make: Callable[[Path], Path]
    expect: str = "read"
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.group}: {self.name}"


@click.command()
@click.argument("kind", type=click.Choice(sorted(KINDS)))
@click.option("--out", type=click.Path(path_type=Path), help="Write the table here, as JSON.")
@click.option("--only", help="Variants whose title contains this.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the files in this folder.")
def main(kind: str, out: Path | None, only: str | None, keep: Path | None) -> None:
    """Make the variants of KIND, read them, compare."""
    sys.path.insert(0, str(Path(__file__).parent))
    module = importlib.import_module(KINDS[kind])
    chosen = [variant for variant in module.variants() if not only or only in variant.title]
    rows = []
    for variant in chosen:
        row = measured(module.check, variant, keep)
        rows.append(row)
        if row["verdict"] not in ("same", "refused") or only:
            click.echo(json.dumps(row))
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["verdict"]] = counts.get(row["verdict"], 0) + 1
    click.echo(f"{len(rows)} variants: " + ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())))
    if out is not None:
        table = {"kind": kind, "with": versions(), "counts": counts, "rows": rows}
        lines = [json.dumps(row) for row in rows]
        head = json.dumps({key: value for key, value in table.items() if key != "rows"}, indent=1)[:-2]
        out.write_text(head + ',\n "rows": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n")
    sys.exit(any(row["verdict"] == "WRONG" for row in rows))


def measured(check: Callable[[Variant, Path], dict[str, Any]], variant: Variant, keep: Path | None) -> dict[str, Any]:
    """The row of one variant: what `check` found, seconds, megabytes."""
    folder = Path(tempfile.mkdtemp(prefix="being-inputs-"))
    row: dict[str, Any] = {"group": variant.group, "name": variant.name}
    try:
        try:
            path = variant.make(folder)
        except RuntimeError as error:  # this ffmpeg has no such encoder
            return {**row, "verdict": "not made", "why": str(error)[-200:]}
        row["bytes"] = path.stat().st_size
        ours, theirs = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("fork").Process(target=_child, args=(theirs, check, variant, path))
        started = time.monotonic()
        child.start()
        theirs.close()
        try:
            if ours.poll(2 * LONGEST_S):
                row |= ours.recv()
            else:
                row |= {"verdict": "WRONG", "why": f"no answer after {time.monotonic() - started:.0f} s"}
                child.kill()
        except EOFError:
            child.join()
            row |= {"verdict": "WRONG", "why": f"its process ended with {child.exitcode}"}
        child.join()
        if row.get("seconds", 0.0) > LONGEST_S or row.get("peak_mb", 0.0) > MOST_MB:
            row |= {"verdict": "WRONG", "why": "too slow or too large"}
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, keep / f"{variant.group}-{path.name}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return row


def _child(pipe: Any, check: Callable[[Variant, Path], dict[str, Any]], variant: Variant, path: Path) -> None:
    try:
        pipe.send(check(variant, path))
    except EOFError:
        pass
    except BaseException as error:  # whatever it is, it is what this benchmark looks for
        where = traceback.extract_tb(error.__traceback__)[-1]
        pipe.send({"verdict": "WRONG", "why": f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"})


def peak_mb() -> float:
    """Largest memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


if __name__ == "__main__":
    main()
