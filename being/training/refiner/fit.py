"""`fit_refiner`: an avatar and its footage in, the avatar with a refiner out."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from being.atomic import whole_file, writing_to
from being.avatar.folder import Avatar, amend_avatar, load_avatar
from being.avatar.signing import own_key, signed_manifest
from being.dataset import Dataset
from being.errors import InputError
from being.progress import Progress, Silent
from being.refine.native.weights import FILE, RefinerFacts, TrainedRefiner, save_refiner
from being.training.config import FitConfig
from being.training.data.footage import split_frames
from being.training.defaults import config_for
from being.training.fit import choose_device, fit
from being.training.loop import Stop
from being.training.loss.perceptual import Perceptual
from being.training.refiner.config import RefinerConfig
from being.training.refiner.folds import Renders, folds, render_frames, write_without
from being.training.refiner.gathering import FacePlaces, pairs_of
from being.training.refiner.identity import FaceEmbedding, Identity, identity_of
from being.training.refiner.judging import Judged, judge_both
from being.training.refiner.loop import Trained, train
from being.training.refiner.report import write_report

INNER_SHARE = 0.04  # of the footage held out inside, as `being clone` and `being fit` do
PAIRS_BYTES = (
    6e9  # of pictures that training may hold on the device: of long footage every second, third ... run of frames
)

FOLD_FORMAT = 3  # of what is kept of a finished fold; 3: with frames that its avatar knows


@dataclass(frozen=True)
class RefinerResult:
    """What came of it; `judged` is None when stopped: the same call goes on from the last fold that was finished. A
    refiner that is not `judged.kept` is not stored, and what the avatar had before stays in it.

    metrics : scores on held-out frames by name, raw_*, refined_* and film_*. report : the page.
    """

    judged: Judged | None
    metrics: dict[str, float]
    seconds: dict[str, float]
    report: Path
    stopped: bool = False


def fit_refiner(
    folder: Path,
    data: Path,
    config: RefinerConfig | None = None,
    progress: Progress | None = None,
    *,
    work: Path | None = None,
    restart: bool = False,
    stop: Stop | None = None,
    fold_config: FitConfig | None = None,
) -> RefinerResult:
    """Make a refiner for the avatar in `folder` of the talking-portrait folder `data` it was made from, and store it.

    Parameters
    ----------
    work : where finished folds and the report go, default `FOLDER.refiner` beside it. restart : forget finished folds.
    fold_config : how the folds' avatars are trained, default as `being clone` for `config.fold_minutes`.

    Raises
    ------
    InputError, FormatError : before anything is computed wherever it can be known then.
    """
    config, progress, stop = config or RefinerConfig(), progress or Silent(), stop or Stop()
    folder = Path(folder)
    avatar, dataset = load_avatar(folder), Dataset(data)
    check_match(avatar, dataset)
    if avatar.manifest.consent.status == "consented":
        own_key()  # signs again what has changed
    perceptual = Perceptual(config.vgg) if config.vgg is not None else None
    embedding = FaceEmbedding(config.identity) if config.identity is not None else None
    work = Path(work) if work is not None else folder.with_name(folder.name + ".refiner")
    if restart:
        shutil.rmtree(work, ignore_errors=True)
    with writing_to(work):
        work.mkdir(parents=True, exist_ok=True)
    if config.learned:
        check_folds(work, avatar, dataset, config)
    seconds: dict[str, float] = {}
    fold_config = fold_config or config_for(dataset, config.device, config.fold_minutes)
    device, _ = choose_device(fold_config)

    learned, held_out = split_frames(dataset, INNER_SHARE)
    places = FacePlaces(avatar, dataset)
    judged_on = places.in_sight(held_out.all)
    if not judged_on:
        raise InputError(f"{data} holds no frame out: a refiner could not be judged", "Use longer footage")
    with stop.on_signals():
        with timed(seconds, "folds"):
            sources: list[tuple[Renders, bool, int]] = []
            for number, left_out in enumerate(folds(learned, config.folds) if config.learned else ()):
                renders = _fold(dataset, places, left_out, learned, number, fold_config, work, progress, stop)
                if renders is None:
                    return RefinerResult(None, {}, seconds, work / "report.html", stopped=True)
                sources += [(renders[0], False, number + 1), (renders[1], True, number + 1)]
        with timed(seconds, "render"):
            progress.part("render")
            own = spread(places.in_sight(learned), min(len(learned), most_frames(places) // 3))
            drawn = [
                render_frames(avatar, dataset, frames, fold_config, work, places.square) for frames in (own, judged_on)
            ]
            sources.append((drawn[0], True, 0))
            pairs = pairs_of(dataset, places, sources).to(device)
            shown = pairs_of(dataset, places, [(drawn[1], False, 0)]).to(device)
        progress.part("refiner")
        with timed(seconds, "refiner"):
            trained = train(pairs, config, device, perceptual.to(device) if perceptual else None, progress, stop)
    if trained.stopped:
        progress.note("stopped; the same command goes on from the finished folds")
        return RefinerResult(None, {}, seconds, work / "report.html", stopped=True)
    with timed(seconds, "judge"):
        progress.part("judge")
        identity = identity_on(embedding, places, judged_on)
        kept, judged = judge_both(shown, trained, face_depth(avatar), perceptual, identity)
    if kept is not trained:
        progress.note("the network is worse than the references alone on held-out frames: left out")
    if judged.kept:
        store(folder, avatar, kept, judged, places, work)
    write_report(work / "report.html", avatar.manifest.name, shown, judged, trained.history, seconds)
    (work / "refiner.json").write_text(
        json.dumps({"metrics": judged.metrics(), "seconds": seconds, "guard": trained.guard}, indent=1)
    )
    why = "brings frames no nearer to the film" if judged.harmless else "does harm at any strength"
    wrote = f"wrote {folder / FILE} and" if judged.kept else f"it {why}, {not_kept(avatar, FILE)};"
    progress.note(f"{wrote} {work / 'report.html'}", **judged.metrics())
    return RefinerResult(judged, judged.metrics(), seconds, work / "report.html")


def check_match(avatar: Avatar, dataset: Dataset) -> None:
    """InputError where the avatar was not made from this footage."""
    manifest = avatar.manifest
    found = (dataset.width, dataset.height, dataset.frames)
    expected = (manifest.width, manifest.height, len(avatar.motion.eye))
    if found != expected:
        shape = "{}x{}, {} frames".format
        raise InputError(
            f"{dataset.path} has {shape(*found)}, avatar {manifest.id!r} was made from {shape(*expected)}",
            "Give the folder that it was trained from (being clone --keep leaves it in AVATAR.run/footage)",
        )


def check_folds(work: Path, avatar: Avatar, dataset: Dataset, config: RefinerConfig) -> None:
    """InputError where `work` holds folds of another avatar, other footage or other settings; else note which."""
    made_of = {
        "avatar": avatar.manifest.files["gaussians.ply"],
        "footage": hashlib.sha256(np.ascontiguousarray(dataset.head_poses).tobytes()).hexdigest(),
        "folds": config.folds,
        "fold_minutes": config.fold_minutes,
        "format": FOLD_FORMAT,
    }
    note = work / "folds.json"
    if note.exists() and (found := json.loads(note.read_text())) != made_of:
        other = ", ".join(name for name in made_of if found.get(name) != made_of[name])
        raise InputError(f"{work} holds folds of another run ({other} differ)", "Pass --restart, or another --work")
    with whole_file(note) as partial:
        partial.write_text(json.dumps(made_of))


def store(
    folder: Path,
    avatar: Avatar,
    trained: Trained,
    judged: Judged,
    places: FacePlaces,
    work: Path,
) -> None:
    """Put the refiner into the avatar, signed again where somebody agreed to it."""
    facts = RefinerFacts(
        network=trained.network,
        strength=judged.strength,
        sides=places.sides(),
        gaussians=avatar.manifest.files["gaussians.ply"],
        metrics=judged.metrics(),
    )
    save_refiner(work / FILE, TrainedRefiner(facts, trained.state))
    amend_avatar(folder, extra={FILE: work / FILE}, sign=signed_manifest)


def not_kept(avatar: Avatar, file: str) -> str:
    """What becomes of a refiner that did harm or nothing, and of the one that the avatar had."""
    return "so not kept; the one that the avatar had stays" if file in avatar.manifest.files else "so not kept"


def face_depth(avatar: Avatar) -> float:
    """Mean depth of the face's landmarks in head space, dm."""
    landmarks = avatar.manifest.landmarks
    return float(np.mean([point[2] for point in landmarks])) if landmarks else 0.0


def identity_on(embedding: FaceEmbedding | None, places: FacePlaces, frames: Sequence[int]) -> Identity | None:
    """Of the faces in these frames, where there is an embedding."""
    corner = np.array(places.square[:2], np.float32)
    return identity_of(embedding, places.landmarks[list(frames)] - corner) if embedding is not None else None


def spread(frames: Sequence[int], count: int) -> list[int]:
    """At most about `count` frames in short runs of neighbours, over all of them."""
    every = max(1, len(frames) // max(count, 1))
    return [frame for place, frame in enumerate(frames) if place // 8 % every == 0]


def most_frames(places: FacePlaces) -> int:
    """Frames that training holds on the device: render, film, coverage, depth and guide, 13 bytes a pixel."""
    return int(PAIRS_BYTES // (13 * places.square[2] ** 2))


def _fold(
    dataset: Dataset,
    places: FacePlaces,
    left_out: Sequence[int],
    learned: Sequence[int],
    number: int,
    config: FitConfig,
    work: Path,
    progress: Progress,
    stop: Stop,
) -> tuple[Renders, Renders] | None:
    """Renders of the frames left out, and of those learned from, by an avatar trained without the former; kept in
    `work`. None when stopped."""
    path = work / f"fold{number}.safetensors"
    if path.exists():
        found = load_file(path)
        left, known = ({n[2:]: v for n, v in found.items() if n[0] == part} for part in "01")
        return Renders(**left), Renders(**known)
    progress.note(f"fold {number + 1}: an avatar without {len(left_out)} of {dataset.frames} frames")
    source = write_without(dataset, left_out, work / f"fold{number}")
    config = config.model_copy(update={"inner_block": 0.0, "quality_suite": False, "evaluation_frames": 1})
    out = work / f"fold{number}-avatar"
    result = fit(source, out, config, progress, work=work / f"fold{number}-run", replace=True, stop=stop)
    if result.avatar is None:
        return None
    again = Dataset(source)
    parts = []
    for frames in (left_out, sorted(set(learned) - set(left_out))):
        share = len(frames) / max(1, dataset.frames)
        shown = spread(places.in_sight(frames), min(len(frames), int(share * most_frames(places) / 2)))
        parts.append(render_frames(result.avatar, again, shown, config, work, places.square))
    names = ("frames", "rgb", "alpha", "depth", "head_poses")
    tensors = {f"{part}.{name}": getattr(r, name).contiguous() for part, r in enumerate(parts) for name in names}
    with whole_file(path) as partial:
        save_file(tensors, partial)
    for folder in (source, out, work / f"fold{number}-run"):
        shutil.rmtree(folder)
    return parts[0], parts[1]


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds[name] = time.perf_counter() - start
