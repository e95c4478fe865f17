"""What each CPU form of an avatar's network costs and loses: a table and JSON; --write names the best in the avatar.

    python benchmarks/approximations.py avatars/demo dataset/            on held-out frames of its footage
    python benchmarks/approximations.py avatars/demo dataset/ --write    and name the fastest good form in avatar.json

Loss is PSNR against the true frames, of the exact network less that of the form, in dB: over the person, and over the
mouth alone. A form is good where the person loses no more than --tolerance; what the mouth loses is shown beside it.
Times are of one frame after the other, all cores on each: wall time (medians), and CPU time of all threads, which a
busy machine disturbs less.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from being.idle_threads import let_idle_threads_sleep

let_idle_threads_sleep()  # as the being command does

import click
import numpy as np
import numpy.typing as npt

from being.audio.extractors import load_extractor
from being.audio.windows import file_contexts
from being.avatar.folder import Avatar, amend_avatar
from being.avatar.library import Library
from being.avatar.schema import AvatarManifest
from being.dataset.folder import Dataset
from being.dataset.parsing import BACKGROUND
from being.inference.backends.cpu import cache_folder
from being.inference.engine import Engine
from being.inference.frames import Drive
from being.model.approx import FORMS, Form
from being.training.approximation import TOLERANCE, psnr
from being.training.quality.evaluate import spaced

MOUTH = slice(48, 68)  # of the 68 landmarks
MOUTH_MARGIN = 0.3  # of the mouth's width, around its landmarks
KEPT = {"distilled": ("distilled.safetensors",)}  # caches small enough to travel with the avatar


@dataclass(frozen=True)
class Score:
    """One form. dB against the truth, means over frames; losses in dB against the exact form; times in ms a frame."""

    form: Form
    person_db: float
    mouth_db: float
    person_loss_db: float
    mouth_loss_db: float
    worst_loss_db: float
    wall_ms: float
    cpu_ms: float
    prepare_s: float


@click.command()
@click.argument("avatar", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--frames", default=60, show_default=True, help="Held-out frames looked at, evenly spaced.")
@click.option("--tolerance", default=TOLERANCE, show_default=True, help="dB a form may lose over the person.")
@click.option("--write", is_flag=True, help="Name the fastest good form in avatar.json; add its small caches.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here.")
def main(avatar: Path, dataset: Path, frames: int, tolerance: float, write: bool, json_path: Path | None) -> None:
    """Compare the forms full, pruned, distilled and pca of AVATAR on frames of DATASET."""
    avatar = avatar.resolve()
    library = Library([avatar.parent])
    manifest = library.get(avatar.name).manifest
    footage = Dataset(dataset)
    chosen = spaced(footage.split.val, frames)
    drives = held_out_drives(library.load(manifest.id), footage, chosen)
    truths = [footage.composited(frame) for frame in chosen]
    masks = [(footage.parsing(frame) != BACKGROUND, mouth_mask(footage, frame)) for frame in chosen]

    scores: list[Score] = []
    exact: npt.NDArray[np.float64] | None = None
    for form in FORMS:
        engine = Engine(library, device="cpu", fast=form)
        started = time.perf_counter()
        engine.prepare(manifest.id)
        prepare_s = time.perf_counter() - started
        engine.warm_up(manifest.id)
        pictures, wall_ms, cpu_ms = draw(engine, drives)
        decibels = np.array(
            [[psnr(*pair, mask) for mask in both] for *pair, both in zip(pictures, truths, masks, strict=True)]
        )
        exact = decibels if exact is None else exact
        loss = exact - decibels
        means = (*decibels.mean(axis=0), *loss.mean(axis=0))
        scores.append(Score(form, *map(float, means), float(loss.max()), wall_ms, cpu_ms, prepare_s))
    good = [score for score in scores if score.person_loss_db <= tolerance]
    best = min(good, key=lambda score: score.cpu_ms).form
    result = {
        "avatar": manifest.id,
        "gaussians": manifest.gaussians,
        "frames": len(chosen),
        "tolerance_db": tolerance,
        "best": best,
        "machine": {"cores": os.cpu_count(), "processor": platform.processor(), "load": os.getloadavg()[0]},
        "forms": [asdict(score) for score in scores],
    }
    if json_path is not None:
        json_path.write_text(json.dumps(result, indent=2) + "\n")
    report(manifest, scores, best, len(chosen))
    if write:
        caches = {name: cache_folder(manifest.id) / name for name in KEPT.get(best, ())}
        amend_avatar(avatar, approximation=best, extra={name: path for name, path in caches.items() if path.is_file()})
        click.echo(f"{avatar / 'avatar.json'}: approximation is now {best}")


def held_out_drives(avatar: Avatar, footage: Dataset, frames: list[int]) -> list[Drive]:
    """The drives that should give back these frames of the footage; poses as training left them, where it kept all."""
    manifest, motion = avatar.manifest, avatar.motion
    own = footage.one_take and len(motion) == footage.frames
    contexts = file_contexts(footage.audio, load_extractor(manifest.features), manifest.windows, footage.frames)
    return [
        Drive(
            manifest.id,
            contexts[frame],
            footage.eye(frame),
            motion.head_pose[frame] if own else footage.head_pose(frame),
            motion.torso_pose[frame] if own else footage.torso_pose(frame),
            index=frame,
        )
        for frame in frames
    ]


def draw(engine: Engine, drives: list[Drive]) -> tuple[list[npt.NDArray[np.uint8]], float, float]:
    """All pictures, drawn one by one; median wall and mean CPU milliseconds of a frame."""
    pictures, walls = [], []
    cpu = time.process_time()
    for drive in drives:
        started = time.perf_counter()
        (record,) = engine.render([drive])
        walls.append(time.perf_counter() - started)
        if record.image is None:
            raise click.ClickException(f"frame {drive.index}: {record.error}")
        pictures.append(record.image)
    return pictures, 1000 * statistics.median(walls), 1000 * (time.process_time() - cpu) / len(drives)


def mouth_mask(footage: Dataset, frame: int) -> npt.NDArray[np.bool_]:
    """The box around the mouth's landmarks, (H, W)."""
    points = footage.landmarks(frame)[MOUTH]
    low, high = points.min(axis=0), points.max(axis=0)
    margin = MOUTH_MARGIN * (high[0] - low[0])
    rows, columns = np.mgrid[0 : footage.height, 0 : footage.width]
    inside = (columns >= low[0] - margin) & (columns <= high[0] + margin)
    return inside & (rows >= low[1] - margin) & (rows <= high[1] + margin)


def report(manifest: AvatarManifest, scores: list[Score], best: Form, frames: int) -> None:
    """One table, a row a form."""
    from rich.console import Console
    from rich.table import Table

    title = (
        f"{manifest.id}: {manifest.gaussians:,} Gaussians, {frames} held-out frames; dB lost against the full network"
    )
    table = Table(title=title, title_justify="left")
    for name in (
        "form",
        "person dB",
        "mouth dB",
        "person lost",
        "mouth lost",
        "worst",
        "wall ms",
        "CPU ms",
        "prepare s",
    ):
        table.add_column(name, justify="right")
    for score in scores:
        values = list(asdict(score).values())[1:]
        name = f"[bold]{score.form}[/bold]" if score.form == best else score.form
        table.add_row(name, *(f"{value:.2f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
