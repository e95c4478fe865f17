"""How near pictures of other sizes come to those of the recorded size: averaged over areas for smaller ones.

    python benchmarks/picture_sizes.py --avatar demo --side 384 --side 256 --side 171 --side 1024 --json sizes.json

Frames of the avatar's own motion are drawn as recorded and at each size, over grey. Smaller pictures are compared with
the recorded one's averages over their pixels, larger ones the other way round: PSNR over the person. `plain` draws with
the low-pass filter of the recorded size, in pixels, whatever the picture's size, as trainers of Gaussians do.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
from machine import facts
from numpy.typing import NDArray
from silent_drive import silent_drive

from being.commands.render import find_avatar
from being.inference.compositing import Colour
from being.inference.engine import Engine
from being.inference.frames import Extras
from being.raster.contract import LOW_PASS

Floats = NDArray[np.float64]
APART = 29  # frames of the motion between two that are compared
PERSON = 0.5  # coverage
FILTER = "being.inference.renderable.scaled_low_pass"


@click.command(help=__doc__)
@click.option("--avatar", default="demo", show_default=True, help="Id or folder.")
@click.option("--side", "sides", multiple=True, type=int, default=(384, 256, 171, 1024), show_default=True)
@click.option("--frames", default=4, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
def main(avatar: str, sides: tuple[int, ...], frames: int, device: str, json_path: Path | None) -> None:
    """See the module."""
    library, manifest = find_avatar(avatar)
    rows: list[dict[str, Any]] = []
    full, coverage = pictures(Engine(library, device), manifest.id, frames, manifest.width)
    for side in sides:
        row: dict[str, Any] = {"side": side}
        for name in ("plain", "filtered"):
            with patch(FILTER, lambda scale: (LOW_PASS, LOW_PASS)) if name == "plain" else nullcontext():
                drawn, _ = pictures(Engine(library, device), manifest.id, frames, side)
            small = min(side, manifest.width)
            row[name] = round(psnr(*(averaged(one, small) for one in (drawn, full, coverage))), 2)
        rows.append(row)
        click.echo(json.dumps(row))
    if json_path is not None:
        what = "PSNR over the person, dB, of pictures of other sizes against those of the recorded one"
        command = " ".join(["python", *sys.argv])
        document = {"what": what, "command": command, "recorded": manifest.width, "machine": facts(), "rows": rows}
        json_path.write_text(json.dumps(document, indent=1) + "\n")


def pictures(engine: Engine, avatar: str, frames: int, side: int) -> tuple[Floats, Floats]:
    """Colours (N, side, side, 3) over grey and coverage (N, side, side, 1), 0 to 1, of silent frames of the motion."""
    renderable = engine.prepare(avatar)
    how = {"width": side, "height": side, "background": Colour(128, 128, 128), "extras": Extras.ALPHA}
    asked = [silent_drive(renderable, avatar, APART * index, **how) for index in range(frames)]
    records = engine.render(asked)
    wrong = [record.error for record in records if record.error]
    if wrong:
        raise click.ClickException(wrong[0])
    colours = np.stack([np.asarray(record.image, np.float64) for record in records]) / 255
    return colours, np.stack([np.asarray(record.alpha, np.float64) for record in records])[..., None] / 255


def averaged(pictures: Floats, side: int) -> Floats:
    """Square pictures (N, S, S, C) averaged over the areas of `side` x `side` pixels."""
    edges = np.linspace(0, pictures.shape[1], side + 1)
    pixels = np.arange(pictures.shape[1])
    shares = np.clip(np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels), 0, None)
    shares /= shares.sum(1, keepdims=True)
    return np.einsum("ij,njkc,lk->nilc", shares, pictures, shares, optimize=True)


def psnr(some: Floats, others: Floats, coverage: Floats) -> float:
    """dB over the person."""
    person = coverage[..., 0] > PERSON
    return float(-10 * np.log10(np.square(some - others)[person].mean()))


if __name__ == "__main__":
    main()
