"""What the native refiner does to the pictures of people: everything that is asked of it, measured on their footage.

In two parts, because the host with the GPU need not have MediaPipe or a face embedding:

    python benchmarks/refine_pictures.py measure AVATAR FOOTAGE AVATAR FOOTAGE --out out --vgg vgg16.safetensors \\
        --speech speech.wav --device cuda
    python benchmarks/refine_pictures.py look out --footage FOLDER_OF_FOOTAGE

`measure` makes the references of each avatar as `being fit-refiner` does, and compares held-out frames (an inner and
the end block) inside the face box: rendered, refined, and refined by references of which those filmed within 12 frames
of these blocks are taken away (`apart`). Driven by --speech, where no film is to compare frames with: the mean
difference of each frame's radial log power spectrum to the film's mean, the shift of the mouth against the render, and
flicker; the film's own stand beside. Then whether frames at strength 0 are those of an engine without a refiner, bit
for bit, and frames a second without, at 0 and at 1, in batches of 16 and alone, as the graph draws them.

`look` measures what was saved by the face mesh (shift of the mouth's landmarks) and by a face embedding. Pictures of
people stay in OUT: never commit it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from machine import facts
from numpy.typing import NDArray
from PIL import Image
from silent_drive import silent_drive

from being.avatar.folder import Avatar, load_avatar
from being.avatar.library import Library
from being.dataset import Dataset
from being.dataset.landmarks import MOUTH
from being.dataset.sound import read_wav
from being.graph.local import InProcessGraph
from being.graph.offline import NO_WAITING
from being.inference.engine import Engine
from being.inference.frames import FrameRecord, PixelFormat
from being.live.requests import OutputFormat
from being.live.session import Session
from being.progress import Silent
from being.refine.load import load_stage
from being.refine.native.network import RefineConfig
from being.refine.native.references import References
from being.refine.settings import RefinerSettings
from being.training.data.footage import MOUTH_MARGIN, boxes_of, split_frames
from being.training.defaults import config_for
from being.training.fit import choose_device
from being.training.loop import Stop
from being.training.loss.perceptual import Perceptual
from being.training.loss.radial_spectrum import luma, rings_of
from being.training.quality.lip_sync import track
from being.training.refiner.config import RefinerConfig
from being.training.refiner.fit import INNER_SHARE, fit_refiner
from being.training.refiner.folds import render_frames
from being.training.refiner.gathering import FacePlaces, pairs_of
from being.training.refiner.identity import FaceEmbedding
from being.training.refiner.judging import Judged, judge
from being.training.refiner.loop import train
from being.training.refiner.measures import flicker, shifts
from being.training.refiner.references import GAP, Chosen, choose

DRIVEN = 100  # frames of speech
RINGS = 64
BATCHES = (16, 1)
REPEATS = 30
Pixels = NDArray[np.uint8]


@click.group(help=__doc__)
def main() -> None:
    """See the module."""


@main.command()
@click.argument("pairs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--vgg", type=click.Path(exists=True, path_type=Path))
@click.option("--speech", required=True, type=click.Path(exists=True, path_type=Path), help="16 kHz mono WAV.")
@click.option("--driven", default=DRIVEN, show_default=True, help="Frames of speech.")
@click.option("--repeats", default=REPEATS, show_default=True, help="Of each timing.")
@click.option("--device", default="auto", show_default=True)
def measure(
    pairs: tuple[Path, ...],
    out: Path,
    vgg: Path | None,
    speech: Path,
    driven: int,
    repeats: int,
    device: str,
) -> None:
    """Measure AVATAR FOOTAGE AVATAR FOOTAGE ...; the avatars get the refiners that are made."""
    if len(pairs) % 2:
        raise click.UsageError("avatars and footage come in pairs")
    out.mkdir(parents=True, exist_ok=True)
    pcm = read_wav(speech)
    document: dict[str, Any] = {"machine": facts(), "people": {}}
    if device != "cpu" and torch.cuda.is_available():
        document["gpu"] = torch.cuda.get_device_name()
    for avatar, footage in zip(pairs[::2], pairs[1::2], strict=True):
        person: dict[str, Any] = {}
        document["people"][avatar.name] = person
        for name, part in (
            ("made", lambda a=avatar, f=footage: made(a, f, device, vgg, out)),
            ("held_out", lambda a=avatar, f=footage: held_out(a, f, device, vgg, out / a.name)),
            ("driven", lambda a=avatar, f=footage: spoken(a, f, device, pcm, driven, out / a.name)),
            ("speed", lambda a=avatar: speed(a, device, repeats)),
        ):
            try:
                person[name] = part()
            except Exception as error:  # the rest is worth having
                person[name] = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
            click.echo(json.dumps({avatar.name: {name: person[name]}}))
            (out / "pictures.json").write_text(json.dumps(document, indent=1) + "\n")


def made(folder: Path, footage: Path, device: str, vgg: Path | None, out: Path) -> dict[str, Any]:
    """The refiner by `being fit-refiner`'s own function; seconds of its parts and of all."""
    begun = time.perf_counter()
    work = out / f"{folder.name}.refiner"
    result = fit_refiner(folder, footage, RefinerConfig(device=device, vgg=vgg), Silent(), work=work)
    seconds = {name: round(value, 2) for name, value in result.seconds.items()}
    assert result.judged is not None
    return {
        "seconds": seconds | {"all": round(time.perf_counter() - begun, 2)},
        "strength": result.judged.strength,
        "harmless": result.judged.harmless,
        "pays": result.judged.pays,
        "bytes": (work / "refiner.safetensors").stat().st_size,
        "metrics": result.metrics,
    }


def held_out(folder: Path, footage: Path, device: str, vgg: Path | None, out: Path) -> dict[str, Any]:
    """Scores of held-out frames, with all references and with those filmed a while before and after alone."""
    out.mkdir(parents=True, exist_ok=True)
    avatar, dataset = load_avatar(folder), Dataset(footage)
    config = config_for(dataset, device, 1.0)
    place, _ = choose_device(config)
    learned, held = split_frames(dataset, INNER_SHARE)
    places = FacePlaces(avatar, dataset)
    drawn = [
        render_frames(avatar, dataset, places.in_sight(frames), config, out, places.square)
        for frames in (learned, held.all)
    ]
    pairs = pairs_of(dataset, places, [(drawn[0], True, 0)]).to(place)
    shown = pairs_of(dataset, places, [(drawn[1], False, 0)]).to(place)
    perceptual = None if vgg is None else Perceptual(vgg).to(place)
    trained = train(pairs, RefinerConfig(device=device), place, None, Silent(), Stop())
    count, texels = trained.network.references, trained.network.texels
    chosen = choose(pairs, count, texels)
    marks = avatar.manifest.landmarks
    depth = float(np.mean([point[2] for point in marks])) if marks else 0.0
    network, state = without_near(chosen, shown.frames, trained.network, trained.state)
    whole = judge(shown, trained.network, trained.state, depth, perceptual)
    apart = judge(shown, network, state, depth, perceptual)
    saved = {"rendered": shown.renders, "refined": whole.pictures, "apart": apart.pictures}
    for name, pictures in saved.items():
        save(out / "held_out", name, shown.frames.tolist(), pictures.cpu().numpy())
    (out / "held_out" / "square.json").write_text(json.dumps(places.square))
    return {
        "frames": len(shown),
        "references": count,
        "of": len(pairs),
        "taken_away": count - network.references,
        "texels": texels,
        "film_flicker": whole.film_flicker,
        "rendered": whole.raw,
        "refined": scores(whole),
        "apart": scores(apart),
    }


def scores(judged: Judged) -> dict[str, float]:
    """What was measured on refined pictures, and at which strength."""
    return judged.refined | {"strength": judged.strength}


def without_near(
    chosen: Chosen, frames: torch.Tensor, config: RefineConfig, state: dict[str, torch.Tensor]
) -> tuple[RefineConfig, dict[str, torch.Tensor]]:
    """The references filmed more than GAP frames before or after all of `frames`."""
    near = chosen.too_near(frames, GAP).any(0)
    device = chosen.references.thumbs.device
    kept = torch.nonzero(~near).flatten().to(device)
    fewer = References(len(kept), config.texels).to(device)
    for name in ("differences", "thumbs"):
        getattr(fewer, name).copy_(getattr(chosen.references, name)[kept])
    for name in ("points", "covered", "pose", "camera"):
        getattr(fewer, name).copy_(getattr(chosen.references, name))
    fewer.solve()
    own = {f"references.{name}": value.cpu() for name, value in fewer.named_buffers()}
    return config.model_copy(update={"references": len(kept)}), state | own


def spoken(folder: Path, footage: Path, device: str, pcm: NDArray[np.float32], count: int, out: Path) -> dict[str, Any]:
    """The avatar saying what was never filmed, rendered and refined, beside the film's own frames."""
    avatar, dataset = load_avatar(folder), Dataset(footage)
    library = Library([folder.parent])
    graph = InProcessGraph(Engine(library, device, stages=[load_stage(RefinerSettings(device=device), library)]))
    refined, rendered = drive(graph, folder.name, pcm, count)
    graph.close()
    boxes = np.array([record.face_box for record in refined], np.float32)
    poses = np.stack([record.head_pose for record in refined])
    lips = boxes_of(projected(avatar, poses)[:, MOUTH], MOUTH_MARGIN)
    marks = avatar.manifest.landmarks
    depth = float(np.mean([point[2] for point in marks])) if marks else 0.0
    places = FacePlaces(avatar, dataset)
    frames = places.in_sight(range(dataset.frames))
    film = np.stack([dataset.composited(frame) for frame in frames])
    side = max(film.shape[1:3])
    mean = spectra(padded(film, side), places.boxes[frames]).mean(0)
    camera: tuple[float, float, float, float] = tuple(float(value) for value in dataset.intrinsics)  # type: ignore[assignment]
    pictures = {
        "rendered": np.stack([record.image for record in rendered if record.image is not None]),
        "refined": np.stack([record.image for record in refined if record.image is not None]),
    }
    found: dict[str, Any] = {"frames": count}
    where = torch.from_numpy(boxes), torch.from_numpy(lips)
    laid = {name: torch.from_numpy(padded(part, side)) for name, part in pictures.items()}
    for name, part in laid.items():
        found[name] = {
            "spectrum_to_films_mean": float((spectra(part.numpy(), boxes) - mean).abs().mean()),
            "lips_px": float(shifts(laid["rendered"], part, where[1]).mean()),
            "flicker": flicker(part, torch.arange(count), torch.from_numpy(poses), camera, depth, *where),
        }
        x, y, wide = places.square
        save(out / "driven", name, range(0, count, 10), pictures[name][::10, y : y + wide, x : x + wide])
    own = torch.from_numpy(places.boxes[frames]), torch.from_numpy(places.lips[frames])
    whole = torch.from_numpy(padded(film, side)), torch.tensor(frames)
    found["filmed"] = {
        "spectrum_to_films_mean": float((spectra(whole[0].numpy(), places.boxes[frames]) - mean).abs().mean()),
        "flicker": flicker(*whole, torch.from_numpy(dataset.head_poses[frames]), camera, depth, *own),
    }
    return found


def drive(
    graph: InProcessGraph, avatar: str, pcm: NDArray[np.float32], count: int
) -> tuple[list[FrameRecord], list[FrameRecord]]:
    """The same frames refined and rendered."""
    facts_of = graph_facts(graph, avatar)
    output = OutputFormat(facts_of.width, facts_of.height, pixel_format=PixelFormat.RGB, refine=1.0)
    session = Session("bench", facts_of, output, limits=NO_WAITING)
    session.push_audio(pcm, np.repeat(pcm, 3)[:, None], now=0.0)
    parts: list[list[FrameRecord]] = [[], []]
    for start in range(0, count, 16):
        request = session.take(min(16, count - start), now=0.0).request
        parts[0] += graph.draw([request])
        parts[1] += graph.draw([replace(request, output=replace(output, refine=0.0))])
    for record in parts[0] + parts[1]:
        if record.error:
            raise RuntimeError(record.error)
    return parts[0], parts[1]


def graph_facts(graph: InProcessGraph, avatar: str) -> Any:
    """What a session must know of the avatar."""
    import asyncio

    return asyncio.run(graph.prepare(avatar))


def projected(avatar: Avatar, poses: NDArray[np.float32]) -> NDArray[np.float32]:
    """The avatar's landmarks in frames of these poses, (T, 68, 2) pixels."""
    assert avatar.manifest.landmarks is not None
    points = np.array(avatar.manifest.landmarks, np.float32) @ poses[:, :, :3].transpose(0, 2, 1) + poses[:, None, :, 3]
    fx, fy, cx, cy = avatar.manifest.intrinsics
    return np.stack([fx * points[..., 0] / points[..., 2] + cx, fy * points[..., 1] / points[..., 2] + cy], -1)


def padded(pictures: Pixels, side: int) -> Pixels:
    """Pictures (N, H, W, 3) as squares, for the measures."""
    height, width = pictures.shape[1:3]
    return np.pad(pictures, ((0, 0), (0, side - height), (0, side - width), (0, 0)))


def spectra(pictures: Pixels, boxes: NDArray[np.float32]) -> torch.Tensor:
    """(N, RINGS) radial log power spectra inside the boxes."""
    out = []
    for picture, box in zip(pictures, boxes.round().astype(int).tolist(), strict=True):
        inside = luma(torch.from_numpy(picture[None]))[0, box[1] : box[3], box[0] : box[2]]
        out.append(rings_of(inside, RINGS))
    return torch.stack(out)


def speed(folder: Path, device: str, repeats: int) -> list[dict[str, Any]]:
    """Drives to planes in main memory by an engine without a refiner, with one at strength 0, and with one at 1."""
    library = Library([folder.parent])
    without = Engine(library, device)
    stage = load_stage(RefinerSettings(device=device), library)
    staged = Engine(library, device, stages=[stage])
    renderable = without.prepare(folder.name)
    staged.prepare(folder.name)
    rows = []
    for count in BATCHES:
        kinds = {"without": (without, 0.0), "strength 0": (staged, 0.0), "strength 1": (staged, 1.0)}
        drives = {
            name: [
                silent_drive(renderable, folder.name, frame, pixel_format=PixelFormat.YUV420, refine=strength)
                for frame in range(count)
            ]
            for name, (_, strength) in kinds.items()
        }
        took: dict[str, list[float]] = {name: [] for name in kinds}
        images: dict[str, list[Any]] = {}
        for turn in range(repeats + 3):
            for name, (engine, _) in kinds.items():
                begun = time.perf_counter()
                records = engine.render(drives[name])
                if turn >= 3:
                    took[name].append(time.perf_counter() - begun)
                images[name] = [record.image for record in records]
        same = all(np.array_equal(a, b) for a, b in zip(images["without"], images["strength 0"], strict=True))
        row: dict[str, Any] = {"batch": count, "strength_0_identical": same}
        for name, seconds in took.items():
            row[name] = {
                "ms": round(1000 * statistics.median(seconds), 3),
                "frames_per_s": round(count / statistics.median(seconds), 1),
            }
        rows.append(row)
    return rows


def save(folder: Path, name: str, frames: Sequence[int], pictures: Pixels) -> None:
    """As WebP of high quality: losses that no measure of `look` sees."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame, picture in zip(frames, pictures, strict=True):
        Image.fromarray(picture).save(folder / f"{frame:05d}_{name}.webp", quality=93)


@main.command()
@click.argument("out", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--footage", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--identity", type=click.Path(exists=True, path_type=Path), help="As being fit-refiner has it.")
def look(out: Path, footage: Path, identity: Path | None) -> None:
    """Measure what was saved in OUT by the face mesh and by a face embedding; FOOTAGE holds the people's footage."""
    embedding = None if identity is None else FaceEmbedding(identity)
    found: dict[str, Any] = {}
    for folder in sorted(out.glob("*/held_out")):
        dataset = Dataset(footage / folder.parent.name)
        x, y, side = json.loads((folder / "square.json").read_text())
        frames = sorted({int(path.name[:5]) for path in folder.glob("*.webp")})
        pictures = {name: read(folder, name, frames) for name in ("rendered", "refined", "apart")}
        pictures["filmed"] = np.stack([dataset.composited(frame)[y : y + side, x : x + side] for frame in frames])
        person: dict[str, Any] = {"frames": len(frames)}
        found[folder.parent.name] = person
        tracked = {name: followed(frames, part) for name, part in pictures.items()}
        for name, (points, seen) in tracked.items():
            for other in ("rendered", "filmed"):
                both = seen & tracked[other][1]
                if name != other and both.any():
                    far = np.linalg.norm(points[both] - tracked[other][0][both], axis=-1)[:, MOUTH]
                    person[f"mouth_px_{name}_{other}"] = round(float(far.mean()), 4)
        if embedding is None:
            continue
        marks = np.stack([dataset.landmarks(frame) for frame in frames]) - np.array([x, y], np.float32)
        vectors = {name: embedding(part, marks) for name, part in pictures.items()}
        for name, vector in vectors.items():
            if name != "filmed":
                far = np.linalg.norm(vector - vectors["filmed"], axis=1)
                person[f"identity_{name}"] = round(float(far.mean()), 4)
                person[f"identity_{name}_nearer"] = round(
                    float((far < np.linalg.norm(vectors["rendered"] - vectors["filmed"], axis=1)).mean()), 3
                )
    click.echo(json.dumps(found, indent=1))
    (out / "looked.json").write_text(json.dumps(found, indent=1) + "\n")


def read(folder: Path, name: str, frames: Sequence[int]) -> Pixels:
    """What `save` wrote, (N, H, W, 3)."""
    return np.stack([np.asarray(Image.open(folder / f"{frame:05d}_{name}.webp").convert("RGB")) for frame in frames])


def followed(frames: Sequence[int], pictures: Pixels) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Landmarks (N, 68, 2) and where there was a face (N,), block by block of frames that follow each other."""
    ends = [0, *(np.flatnonzero(np.diff(frames) != 1) + 1).tolist(), len(frames)]
    parts = [track(list(pictures[first:last])) for first, last in pairwise(ends)]
    return np.concatenate([points for points, _ in parts]), np.concatenate([seen for _, seen in parts])


if __name__ == "__main__":
    main()
