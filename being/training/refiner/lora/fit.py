"""`fit_lora`: an avatar, its footage and a diffusion model in, the avatar with a LoRA of that model out."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from being.atomic import writing_to
from being.avatar.folder import Avatar, amend_avatar, load_avatar
from being.avatar.signing import own_key, signed_manifest
from being.dataset import Dataset
from being.errors import InputError
from being.progress import Progress, Silent
from being.refine.streamdiffusion.avatar_lora import (
    FILE,
    AvatarLora,
    LoraBase,
    LoraFacts,
    base_of,
    save_avatar_lora,
)
from being.refine.streamdiffusion.loading import Weights, load_weights
from being.refine.streamdiffusion.lora import with_lora
from being.refine.streamdiffusion.settings import StreamDiffusionSettings
from being.training.data.footage import split_frames
from being.training.defaults import config_for
from being.training.fit import choose_device
from being.training.loop import Stop
from being.training.loss.perceptual import Perceptual
from being.training.refiner.fit import (
    INNER_SHARE,
    RefinerResult,
    check_match,
    face_depth,
    identity_on,
    most_frames,
    not_kept,
    spread,
    timed,
)
from being.training.refiner.folds import render_frames
from being.training.refiner.gathering import FacePlaces, pairs_of
from being.training.refiner.identity import FaceEmbedding
from being.training.refiner.judging import Judged
from being.training.refiner.lora.adapter import Adapter
from being.training.refiner.lora.config import LoraConfig
from being.training.refiner.lora.face_crops import FaceCropSampler, LiveFace
from being.training.refiner.lora.judging import judge_lora
from being.training.refiner.lora.loop import TrainedLora, train_lora
from being.training.refiner.report import write_report


def fit_lora(
    folder: Path,
    data: Path,
    config: LoraConfig | None = None,
    progress: Progress | None = None,
    *,
    work: Path | None = None,
    stop: Stop | None = None,
) -> RefinerResult:
    """Train a LoRA for the avatar in `folder` on the talking-portrait folder `data` it was made from, and store it.

    Parameters
    ----------
    work : where the report goes, default `FOLDER.lora` beside it.

    Raises
    ------
    InputError, FormatError, MissingDependencyError : before anything is computed wherever it can be known then.
    """
    config, progress, stop = config or LoraConfig(), progress or Silent(), stop or Stop()
    folder = Path(folder)
    avatar, dataset = load_avatar(folder), Dataset(data)
    check_match(avatar, dataset)
    check_used(avatar, config.refiner)
    if avatar.manifest.consent.status == "consented":
        own_key()  # signs again what has changed
    perceptual = Perceptual(config.vgg) if config.vgg is not None else None
    embedding = FaceEmbedding(config.identity) if config.identity is not None else None
    draws = config_for(dataset, config.device, 1.0)
    device, _ = choose_device(draws)
    work = Path(work) if work is not None else folder.with_name(folder.name + ".lora")
    with writing_to(work):
        work.mkdir(parents=True, exist_ok=True)
    weights, base = frozen_weights(config, device)
    learned, held_out = split_frames(dataset, INNER_SHARE)
    sizes = config.refiner.sizes
    places = FacePlaces(avatar, dataset, sizes)
    judged_on = places.in_sight(held_out.all)
    if not judged_on:
        raise InputError(f"{data} holds no frame out: a LoRA could not be judged", "Use longer footage")
    seconds: dict[str, float] = {}
    with stop.on_signals():
        with timed(seconds, "render"):
            progress.part("render")
            own = spread(places.in_sight(learned), min(len(learned), most_frames(places)))
            pairs, shown = (
                pairs_of(
                    dataset, places, [(render_frames(avatar, dataset, frames, draws, work, places.square), seen, 0)]
                )
                for frames, seen in ((own, True), (judged_on, False))
            )
        progress.part("lora")
        face = LiveFace.of(avatar, places)
        adapter = Adapter(weights, config.refiner, face.seed, config.seed)
        sampler = FaceCropSampler(pairs.to(device), face, sizes, len(config.refiner.timesteps), config.seed)
        with timed(seconds, "lora"):
            placed = perceptual.to(device) if perceptual is not None else None
            trained = train_lora(adapter, sampler, config, placed, progress, stop)
    if trained.stopped:
        progress.note("stopped; nothing was stored")
        return RefinerResult(None, {}, seconds, work / "report.html", stopped=True)
    with timed(seconds, "judge"):
        progress.part("judge")
        shown = shown.to(device)
        judged = judge_lora(
            *(shown, adapter, face, sizes, face_depth(avatar), perceptual),
            identity_on(embedding, places, judged_on),
        )
    if judged.harmless:
        store(folder, avatar, trained, judged, base, config.refiner.lora_rank, work)
    write_report(work / "report.html", avatar.manifest.name, shown, judged, trained.history, seconds)
    written = {"metrics": judged.metrics(), "seconds": seconds, "steps": trained.steps}
    (work / "lora.json").write_text(json.dumps(written, indent=1))
    worse = f"it moves the lips or is worse than the model alone, {not_kept(avatar, FILE)};"
    wrote = f"wrote {folder / FILE} and" if judged.harmless else worse
    progress.note(f"{wrote} {work / 'report.html'}", **judged.metrics())
    return RefinerResult(judged, judged.metrics(), seconds, work / "report.html")


def check_used(avatar: Avatar, settings: StreamDiffusionSettings) -> None:
    """InputError where a refiner of these settings would not use a LoRA that the avatar holds."""
    if not settings.avatar_loras:
        raise InputError("avatar_loras: false in the options: the LoRA would never be used", "Leave it out of them")
    if avatar.id in settings.identities:
        raise InputError(
            f"{avatar.id!r} is in identities of the options, which go first: the LoRA would never be used",
            "Leave it out of them",
        )


def frozen_weights(config: LoraConfig, device: torch.device) -> tuple[Weights, LoraBase]:
    """The model on the device, with what is added for everybody, and what a LoRA of it belongs to.

    On a GPU the denoising network is in bfloat16 unless told otherwise; the autoencoder stays in single precision, as
    pictures in bfloat16 have steps of 1 / 256.
    """
    settings = config.refiner
    weights = load_weights(settings, device, torch.float32)
    for lora in settings.loras:
        weights.unet = with_lora(weights.unet, Path(lora.file), lora.scale)
    base = base_of(weights, settings)
    if config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda"):
        weights.unet = weights.unet.to(torch.bfloat16)
        weights.prompt = weights.prompt.to(torch.bfloat16)
        if weights.controlnet is not None:
            weights.controlnet = weights.controlnet.to(torch.bfloat16)
    for module in (weights.unet, weights.autoencoder, weights.controlnet):
        if module is not None:
            module.requires_grad_(False)
    return weights, base


def store(
    folder: Path,
    avatar: Avatar,
    trained: TrainedLora,
    judged: Judged,
    base: LoraBase,
    rank: int,
    work: Path,
) -> None:
    """Put the LoRA into the avatar, signed again where somebody agreed to it."""
    facts = LoraFacts(
        rank=rank,
        strength=judged.strength,
        base=base,
        gaussians=avatar.manifest.files["gaussians.ply"],
        metrics=judged.metrics(),
    )
    save_avatar_lora(work / FILE, AvatarLora(facts, trained.factors))
    amend_avatar(folder, extra={FILE: work / FILE}, sign=signed_manifest)
