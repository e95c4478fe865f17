"""What a frame costs the engine by how many are drawn at once, and how near each way of drawing comes to the exact one.

    python benchmarks/render_batches.py                                    # this machine, batches of 1, 8 and 32
    python benchmarks/render_batches.py --device cuda --batch 1 --batch 16 --batch 128 --json batches.json
    python benchmarks/render_batches.py --device cuda --batch 32/8          # 32 frames of eight avatars in every batch
    python benchmarks/render_batches.py --device cuda --batch 16 --size 1080x1080 --gaussians 50000

From drives (audio contexts, poses, lids; all in main memory) to 4:2:0 planes in main memory, as the renderer
of the live graph does it, after a warm-up; medians over the batches. The sound is the sample sentence, the
motion the avatar's own. `gpu_ms` is the GPU's share of a frame, without the way to 4:2:0 and to the host. The last
column compares with the plain network and rasterizer: PSNR of luma over the person. --gaussians divides the avatar's
until there are as many, each into smaller ones beside it: not a better picture, but the work of one.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import click

from being.idle_threads import let_idle_threads_sleep

let_idle_threads_sleep()  # as the being command does

import numpy as np
import torch
from machine import facts
from numpy.typing import NDArray

from being.audio.extractors import load_extractor
from being.audio.features import FeatureSpec
from being.audio.windows import WindowSpec, file_contexts
from being.avatar.folder import Avatar, save_avatar
from being.avatar.library import Library
from being.commands.render import find_avatar
from being.inference.engine import Engine
from being.inference.frames import Drive, Extras, PixelFormat
from being.raster.reference import rotation_matrices
from being.training.defaults import on_gpu
from being.training.quality.novel_speech import sample_sentence

BATCHES_TIMED = 30


@click.command(help=__doc__)
@click.option("--avatar", default="demo", show_default=True, help="Id or folder.")
@click.option(
    "--batch",
    "batches",
    multiple=True,
    default=("1", "8", "32"),
    show_default=True,
    metavar="FRAMES[/FACES]",
    help="Frames drawn at once, and of how many avatars (copies of the one).",
)
@click.option("--device", default="auto", show_default=True)
@click.option("--form", "forms", multiple=True, default=("auto",), show_default=True, help="As `being render --form`.")
@click.option("--size", help="WIDTHxHEIGHT in pixels; as recorded where left out.")
@click.option("--gaussians", type=click.IntRange(1), help="Divide the avatar's until there are so many.")
@click.option("--compared", default=24, show_default=True, help="Frames drawn by the plain ones too.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
def main(
    avatar: str,
    batches: tuple[str, ...],
    device: str,
    forms: tuple[str, ...],
    size: str | None,
    gaussians: int | None,
    compared: int,
    json_path: Path | None,
) -> None:
    """See the module."""
    width, height = map(int, size.split("x")) if size else (None, None)
    sizes = [tuple(map(int, f"{batch}/1".split("/")[:2])) for batch in batches]
    most = max(faces for _, faces in sizes)
    with tempfile.TemporaryDirectory(prefix="being-faces-") as place:
        library = copies(avatar, most, Path(place), gaussians)
        rows: list[dict[str, Any]] = []
        document: dict[str, Any] = {
            "what": "milliseconds a frame by the number of frames drawn at once, drives to planes in main memory",
            "command": " ".join(["python", *sys.argv]),
            "device": torch.cuda.get_device_name() if on_gpu(device) else "CPU",
            "machine": facts(),
            "gaussians": library.get("face0").manifest.gaussians,
            "size": size,
            "rows": rows,
        }
        exact = pictures(Engine(library, device, "off" if on_gpu(device) else "full"), compared, width, height)
        for form in forms:
            engine = Engine(library, device, form, capacity=most)  # type: ignore[arg-type]
            psnr = mean_psnr(pictures(engine, compared, width, height), exact)
            for count, faces in sizes:
                row = {"form": form, "batch": count, "faces": faces, **timed(engine, faces, count, width, height)}
                rows.append(row | {"psnr": round(psnr, 2)})
                click.echo(json.dumps(rows[-1]))
                if json_path is not None:
                    json_path.write_text(json.dumps(document, indent=1) + "\n")


def copies(avatar: str, faces: int, place: Path, gaussians: int | None = None) -> Library:
    """A library of as many copies of the avatar, of so many Gaussians."""
    library, manifest = find_avatar(avatar)
    source = library.get(manifest.id).folder
    if gaussians is not None:
        source = divided(library.load(manifest.id), gaussians, place / "divided")
    for index in range(faces):
        folder = place / f"face{index}"
        shutil.copytree(source, folder)
        manifest = json.loads((folder / "avatar.json").read_text())
        (folder / "avatar.json").write_text(json.dumps(manifest | {"id": folder.name}))
    return Library([place])


def divided(avatar: Avatar, count: int, place: Path) -> Path:
    """A folder with the avatar of `count` Gaussians: each becomes several of the same area together, side by side."""
    old, rng = avatar.gaussians, torch.Generator().manual_seed(0)
    which = torch.arange(count) % old.count
    parts = old.select(which)
    shift = 0.5 * torch.randn(count, 3, generator=rng) * parts.log_scales.exp()
    shift = (rotation_matrices(parts.quats) @ shift[..., None])[..., 0]
    smaller = torch.log(torch.bincount(which, minlength=old.count)[which].float()) / 2
    new = replace(parts, xyz=parts.xyz + shift, log_scales=parts.log_scales - smaller[:, None])
    manifest = avatar.manifest.model_copy(update={"id": place.name, "gaussians": count})
    save_avatar(replace(avatar, gaussians=new, manifest=manifest), place)
    return place


def drives(
    engine: Engine,
    faces: int,
    count: int,
    first: int = 0,
    extras: Extras = Extras.NONE,
    width: int | None = None,
    height: int | None = None,
) -> list[Drive]:
    """`count` frames of speech, the faces by turns, each face further on in its motion."""
    found = []
    manifest = engine.prepare("face0").avatar.manifest
    contexts = speech(manifest.features.model_dump_json(), manifest.look_ahead)
    for index in range(first, first + count):
        face = index % faces
        motion = engine.prepare(f"face{face}").avatar.motion
        at = (index + 37 * face) % len(motion.eye)
        found.append(
            Drive(
                f"face{face}",
                contexts[(index + 11 * face) % len(contexts)],
                float(motion.eye[at]),
                motion.head_pose[at],
                motion.torso_pose[at],
                pixel_format=PixelFormat.YUV420,
                extras=extras,
                width=width,
                height=height,
            )
        )
    return found


@lru_cache(maxsize=1)
def speech(features: str, look_ahead: int | str) -> NDArray[np.float32]:
    """Audio contexts of the sample sentence."""
    extractor = load_extractor(FeatureSpec.model_validate_json(features))
    return file_contexts(sample_sentence(), extractor, WindowSpec(look_ahead=look_ahead))


def timed(
    engine: Engine, faces: int, count: int, width: int | None = None, height: int | None = None
) -> dict[str, float]:
    """Median and 95th percentile of a batch's milliseconds, for each of its frames."""
    walls = []
    for turn in range(BATCHES_TIMED + 3):
        batch = drives(engine, faces, count, turn * count, width=width, height=height)
        begun = time.perf_counter()
        records = engine.render(batch)
        walls.append(1000 * (time.perf_counter() - begun) / count)
        wrong = [record.error for record in records if record.error]
        if wrong:
            raise click.ClickException(wrong[0])
    walls = walls[3:]
    return {
        "ms_a_frame": round(statistics.median(walls), 4),
        "p95_ms_a_frame": round(sorted(walls)[round(0.95 * (len(walls) - 1))], 4),
        "frames_a_second": round(1000 / statistics.median(walls), 1),
        **gpu_time(engine, batch),
    }


def gpu_time(engine: Engine, batch: list[Drive]) -> dict[str, float]:
    """The GPU's milliseconds a frame, from conditions to pictures, of batches drawn one behind the other."""
    if engine.device.type != "cuda":
        return {}
    items = [(engine.prepare(drive.avatar), drive) for drive in batch]
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    engine.backend.render(items, PixelFormat.YUV420)
    torch.cuda.synchronize()
    start.record()
    for _ in range(BATCHES_TIMED):
        engine.backend.render(items)
    end.record()
    torch.cuda.synchronize()
    return {"gpu_ms": round(start.elapsed_time(end) / BATCHES_TIMED / len(batch), 4)}


def pictures(
    engine: Engine, count: int, width: int | None = None, height: int | None = None
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """(planes, coverage) of frames evenly spread over the sentence."""
    records = engine.render(drives(engine, 1, 5 * count, extras=Extras.ALPHA, width=width, height=height)[::5])
    return [(record.image, record.alpha) for record in records]  # type: ignore[misc]


def mean_psnr(
    some: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], exact: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
) -> float:
    """PSNR of the luma over the person, of all frames together; its range is 219 levels."""
    error, pixels = 0.0, 0
    for (a, _), (b, alpha) in zip(some, exact, strict=True):
        person = alpha > 127
        error += float(np.square(a[: len(alpha)][person].astype(np.float64) - b[: len(alpha)][person]).sum())
        pixels += int(person.sum())
    return float(10 * np.log10(219.0**2 * pixels / max(error, 1e-9)))


if __name__ == "__main__":
    main()
