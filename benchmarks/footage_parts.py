"""What another minute of film is worth: parts of one footage that end alike, each a dataset of its own.

    python benchmarks/footage_parts.py FOOTAGE PARTS --seconds 5 --seconds 20 --seconds 60 --seconds 300
    python benchmarks/quality.py train PARTS/5s PARTS/20s PARTS/60s PARTS/300s --out out

Every part holds out the last --held-out seconds of FOOTAGE, so that all are judged by the same film, and has the
seconds just before them to train on. Pictures are linked, not copied. FOOTAGE is one take, as `being.synthetic` draws
it: every frame has all its files.
"""

from __future__ import annotations

import csv
import json
import os
import wave
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from being.constants import FPS, SAMPLE_RATE
from being.dataset import Dataset

FOLDERS = {"ori_imgs": (".png", ".lms"), "gt_imgs": (".png",), "parsing": (".png",), "teeth_mask": (".npy",)}
WHOLE = ("bc.png",)


def write_part(footage: Path, out: Path, first: int, last: int, held_out: int) -> None:
    """Frames [first, last) of a footage as a dataset; of these the last `held_out` are for judging."""
    for folder, suffixes in FOLDERS.items():
        if not (footage / folder).is_dir():
            continue
        (out / folder).mkdir(parents=True)
        for frame in range(first, last):
            for suffix in suffixes:
                if (there := footage / folder / f"{frame}{suffix}").exists():
                    os.link(there, out / folder / f"{frame - first}{suffix}")
    for name in WHOLE:
        os.link(footage / name, out / name)
    tracking: dict[str, Any] = torch.load(footage / "track_params.pt", weights_only=True)
    torch.save({key: _rows(value, first, last) for key, value in tracking.items()}, out / "track_params.pt")
    with np.load(footage / "torso_params.npz") as torso:
        np.savez(out / "torso_params.npz", **{key: _rows(value, first, last) for key, value in torso.items()})
    with (footage / "au.csv").open() as file:
        head, *rows = list(csv.reader(file))
    with (out / "au.csv").open("w") as file:
        csv.writer(file).writerows([head, *rows[first:last]])
    _write_sound(footage, out, first, last)
    listed = [json.loads((footage / f"transforms_{name}.json").read_text()) for name in ("train", "val")]
    frames = {entry["img_id"]: entry for part in listed for entry in part["frames"]}
    for name, some in (("train", range(first, last - held_out)), ("val", range(last - held_out, last))):
        moved = [{**frames[frame], "img_id": frame - first, "aud_id": frame - first} for frame in some]
        (out / f"transforms_{name}.json").write_text(json.dumps({**listed[0], "frames": moved}))


def _rows(value: Any, first: int, last: int) -> Any:
    """Of a table with a row for each frame, those of the part; anything else as it is."""
    return value[first:last] if len(value) >= last else value


def _write_sound(footage: Path, out: Path, first: int, last: int) -> None:
    with wave.open(str(footage / "aud.wav")) as whole, wave.open(str(out / "aud.wav"), "wb") as part:
        part.setparams(whole.getparams())
        samples = SAMPLE_RATE // FPS
        whole.setpos(first * samples)
        part.writeframes(whole.readframes((last - first) * samples))


@click.command(help=__doc__)
@click.argument("footage", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("parts", type=click.Path(path_type=Path))
@click.option("--seconds", "lengths", multiple=True, type=int, default=(5, 20, 60, 300), show_default=True)
@click.option("--held-out", default=10, show_default=True, help="Seconds at the end.")
def main(footage: Path, parts: Path, lengths: tuple[int, ...], held_out: int) -> None:
    """See the module."""
    data = Dataset(footage)
    if not data.one_take:
        raise click.ClickException(f"{footage} is not one take: parts of it would not hang together")
    for seconds in lengths:
        count = (seconds + held_out) * FPS
        if count > data.frames:
            raise click.ClickException(f"{footage} has {data.frames} frames, {count} are needed for {seconds} s")
        out = parts / f"{seconds}s"
        out.mkdir(parents=True)
        write_part(footage, out, data.frames - count, data.frames, held_out * FPS)
        click.echo(f"{out}: {seconds} s to train on, {held_out} s held out")


if __name__ == "__main__":
    main()
