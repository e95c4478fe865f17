"""`fit`: a folder of footage in, an avatar out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from being.avatar.consent import ConsentRecord
from being.avatar.consent_form import read_consent
from being.avatar.folder import Avatar
from being.avatar.schema import check_id
from being.avatar.signing import own_key
from being.dataset import Dataset
from being.errors import InputError
from being.model import DeformationNetwork, NetworkConfig
from being.model.device import usable_device
from being.progress import Progress, Silent
from being.training.approximation import with_fastest_form
from being.training.audio_gain import amplify
from being.training.checkpoint import NAME, CheckpointStore, FolderCheckpointStore, fingerprint
from being.training.config import FitConfig
from being.training.data.face import landmarks_of
from being.training.data.footage import Footage
from being.training.data.speech import Speech, listen
from being.training.distributed import ProcessGroup, SingleProcess, broadcast_values
from being.training.export import finished, record_tokens, write
from being.training.finished_poses import finish_poses
from being.training.loop import Stop, Trainer
from being.training.loss.perceptual import Perceptual
from being.training.model.corrections import FrameCorrections
from being.training.model.drawing import RenderSettings
from being.training.model.eye_token import keep_smooth, start_eye_token
from being.training.model.init import bounding_box, seed_gaussians, source_frames
from being.training.model.lid_motion import LidMotion
from being.training.model.parameters import GaussianParameters
from being.training.model.pretrained import at_rest, audio_encoder, load_pretrained
from being.training.quality.evaluate import Evaluation, FrameScore, draw_frame, evaluate
from being.training.quality.lid_closing import LidClosing
from being.training.quality.suite import run_quality_suite
from being.training.quality.tracked_poses import adopt_tracked
from being.training.report import Shown, write_report
from being.training.run import TrainingRun
from being.training.schedule import stages

TRACKED_FRAMES = 50  # held-out frames scored by tracked poses
SHOWN_FRAMES = 6  # held-out frames in the report


@dataclass(frozen=True)
class FitResult:
    """What came of it. `avatar` and `evaluation` are None when stopped, and on workers other than the first.

    stopped : the run stands at a checkpoint and the same call goes on from it.
    work : folder with checkpoint, report.html and metrics.json. metrics : held-out scores by name.
    """

    avatar: Avatar | None
    evaluation: Evaluation | None
    work: Path
    metrics: dict[str, float]
    seconds: dict[str, float]
    stopped: bool = False


def fit(
    dataset: Path,
    out: Path,
    config: FitConfig | None = None,
    progress: Progress | None = None,
    *,
    work: Path | None = None,
    restart: bool = False,
    replace: bool = False,
    name: str | None = None,
    consent: str | ConsentRecord = "unconsented",
    stop: Stop | None = None,
    process_group: ProcessGroup | None = None,
    store: CheckpointStore | None = None,
    before: Mapping[str, float] | None = None,
) -> FitResult:
    """Train the avatar `out` from the talking-portrait folder `dataset`.

    A run that was stopped (Ctrl-C, SIGTERM, a crash) goes on from its last checkpoint when called again the same way.

    Parameters
    ----------
    out : the avatar's folder; its name becomes the avatar's id.
    work : where checkpoint and report go, default `OUT.run` beside it. restart : forget an earlier checkpoint.
    replace : overwrite an avatar that is already there. name : the avatar's display name.
    consent : a record, "synthetic", "unconsented", or a JSON file with a consent record.
    stop : lets a caller end the run early as a signal would.
    process_group : the workers of this run, each calling `fit` with a `work` of its own; rank 0 evaluates and writes.
    store : where checkpoints go, default a file in `work`.
    before : seconds by name of what was done before, for the report.

    Raises
    ------
    InputError, FormatError : before anything is computed wherever it can be known then.
    """
    config, progress, stop, process_group = (
        config or FitConfig(),
        progress or Silent(),
        stop or Stop(),
        process_group or SingleProcess(),
    )
    out = Path(out)
    work = Path(work) if work is not None else out.with_name(out.name + ".run")
    store = store or FolderCheckpointStore(work)
    seconds: dict[str, float] = dict(before or {})

    # Everything that can be wrong is looked at first; training may take an hour.
    record = consent if isinstance(consent, ConsentRecord) else read_consent(consent)
    if record.status == "consented":
        own_key()  # signs the record at the end; a key that cannot be used must be known now
    device, precision = choose_device(config)
    check_id(out.name)
    data = Dataset(dataset)
    for note in data.notes:
        progress.note(note)
    check_place(out, work, replace)
    run_hash = fingerprint(data, config)
    if restart:
        (work / NAME).unlink(missing_ok=True)
    saved = store.load(run_hash)
    perceptual = Perceptual(config.vgg).to(device) if config.vgg is not None else None
    if perceptual is None and config.loss.perceptual:
        progress.note("perceptual loss left out: no VGG weights were given (--vgg)")

    with _timed(seconds, "read"):
        progress.part("read")
        speech = listen(data, config, work)
        footage = Footage(
            data,
            speech.contexts,
            config,
            device,
            lambda done, total: progress.update(done / total),
            speech.quiet,
            speech.voices,
            speech.rehearsal,
        )

    with _timed(seconds, "seed"):
        run = begin(footage, data, speech, config)
    if saved is not None:
        run.load_state(*saved)
        where = stages(config)[min(run.position.stage, 1)].name
        progress.note(f"going on from step {run.position.step} of the {where} stage")
    process_group.broadcast([value for value in run.state()[0].values() if value.is_floating_point()])
    look = config.backend, precision, config.densify.absolute
    settings = RenderSettings(footage.background, footage.intrinsics, *look)

    def save() -> None:
        store.save(run_hash, run.state)

    trainer = Trainer(run, footage, settings, config, perceptual, progress, save, stop, process_group, store.report)
    with stop.on_signals():
        over = train(trainer)
        if over:
            with _timed(seconds, "poses"):
                smoothing = finish_poses(trainer, np.diff(data.sound_frames) != 1)
        if not over or process_group.rank:
            if not over:
                progress.note("stopped at a checkpoint; the same command goes on from it")
            return FitResult(None, None, work, {}, {**seconds, **run.seconds}, stopped=not over)
        with _timed(seconds, "evaluate"):
            progress.part("evaluate")
            gaussians = run.gaussians.gaussians()
            corrected = run.corrections.posed(torch.arange(footage.frames), footage.head_poses, footage.torso_poses)
            adopt_tracked(footage, corrected)
            tracked = evaluate(gaussians, run.network, footage, settings, min(config.evaluation_frames, TRACKED_FRAMES))
            footage.adopt(*corrected)
            gain = 1.0
            if trainer.motion.lips is not None:
                gain = amplify(run.network, footage, trainer.motion.lips, config.audio_gain)
            record_tokens(run, footage)
            evaluation = evaluate(gaussians, run.network, footage, settings, config.evaluation_frames, progress.update)
            preview = draw_frame(gaussians, run.network, footage, settings, preview_frame(footage))
            shown = shown_frames(run, footage, settings, evaluation)
        quality = run_quality_suite(run, footage, settings, data, speech, config, evaluation, work, progress)
        metrics = quality.metrics
        if "held_out_psnr" in metrics:
            metrics["tracked_psnr"] = round(tracked.mean("psnr"), 4)  # see `tracked_poses`
        metrics |= lid_scores(run, footage, trainer.motion.lids)
        title = name or out.name
        facts = _facts(data, footage, run, config, speech, device, precision) | {"audio gain": f"{gain:g}"}
        facts |= {f"{part} smoothed over": f"{frames:g} frames" for part, frames in smoothing.items()}
        avatar = finished(run, footage, data, speech, metrics, out.name, title, record)
        spent = {"evaluate": seconds.pop("evaluate"), **quality.seconds}
        if config.quality_suite:
            progress.part("form")
            with _timed(spent, "form"):
                avatar, facts["network on a CPU"] = with_fastest_form(avatar, footage)
        all_seconds = seconds | run.seconds | spent
        write_report(work / "report.html", title, preview, evaluation, shown, run.history, all_seconds, facts, quality)
        document = {
            "metrics": metrics,
            "seconds": all_seconds,
            "assessment": quality.words,
            "notes": quality.notes,
            **evaluation.as_json(),
            "steps": run.steps(),
            "smoothing": smoothing,
            "config": config.model_dump(mode="json"),
        }
        (work / "metrics.json").write_text(json.dumps(document, indent=1))
        avatar = write(avatar, out, preview, replace)
        progress.note(f"wrote {out} and {work / 'report.html'}", **metrics)
    return FitResult(avatar, evaluation, work, metrics, all_seconds)


def train(trainer: Trainer) -> bool:
    """Both stages from where the run stands, with a checkpoint at the end of each. False when stopped."""
    run = trainer.run
    plan = stages(trainer.config)
    while run.position.stage < len(plan):
        over = trainer.train_stage(plan[run.position.stage])
        if over:
            run.position = type(run.position)(stage=run.position.stage + 1)
        trainer.save()
        (stop,) = broadcast_values(trainer.process_group, trainer.stop.wanted)
        if not over or (stop and run.position.stage < len(plan)):
            return False
    return True


def begin(footage: Footage, dataset: Dataset, speech: Speech, config: FitConfig) -> TrainingRun:
    """A new run: seeded Gaussians, and a network that predicts zero offsets, or a pretrained one."""
    rng = np.random.default_rng(config.seed)
    seeded = seed_gaussians(footage, config.initial_gaussians, rng, dataset.vertices)
    torch.manual_seed(config.seed)
    shape = NetworkConfig(
        audio_width=speech.contexts.shape[-1],
        plane_resolutions=config.plane_resolutions,
        plane_channels=64 // len(config.plane_resolutions),
        aabb=bounding_box(seeded),
        dropout=config.dropout,
        token_support=True,
        emotion_states=footage.expression_names,
    )
    pretrained = load_pretrained(config, speech, shape)
    if pretrained is not None and pretrained.whole:
        shape = shape.model_copy(update={"aabb": pretrained.box_over(landmarks_of(footage))})
    network = DeformationNetwork(shape)
    at_rest(network)
    if shape.emotion_states:
        torch.nn.init.ones_(network.emotion_weight)  # trained from the first step on, beside the other tokens
    if pretrained is not None:
        pretrained.copy_into(network)
        for part in audio_encoder(network) if config.freeze_audio_encoder else ():
            part.requires_grad_(False)
    network.to(footage.device).eval()
    if pretrained is None or not pretrained.has_eye:
        start_eye_token(network)
    keep_smooth(network)
    corrections = FrameCorrections(footage.frames, footage.train, config.corrections, footage.device, config.batch)
    return TrainingRun.start(GaussianParameters(seeded.to(footage.device), config.lr), network, corrections, config)


def choose_device(config: FitConfig) -> tuple[torch.device, str]:
    """The device, and the arithmetic of the network on it. Raises InputError for a device that is not there."""
    device = usable_device(config.device)
    precision = config.precision
    if precision == "auto":
        precision = "tf32" if device.type == "cuda" else "float32"
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        if device.index is not None:
            torch.cuda.set_device(device)  # Triton launches on the current device, wherever tensors lie
        torch.backends.cudnn.allow_tf32 = False  # SSIM subtracts nearly equal numbers
    return device, precision


def check_place(out: Path, work: Path, replace: bool) -> None:
    """Make the work folder; raise InputError where the avatar or the work folder could not be written."""
    if out.exists() and not replace:
        raise InputError(f"{out} already exists", "Choose another name, or pass --force")
    try:
        work.mkdir(parents=True, exist_ok=True)
        probe = work / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise InputError(f"{work} cannot be written ({error.strerror})", "Choose another output folder") from error
    there = next(folder for folder in out.absolute().parents if folder.exists())  # the rest is made when needed
    if not os.access(there, os.W_OK):
        raise InputError(f"{out.parent} cannot be written", "Choose another output folder")


def preview_frame(footage: Footage) -> int:
    """The training frame that stands for the avatar: an ordinary pose, eyes open."""
    return source_frames(footage, footage.head_poses.cpu().double().numpy())[0]


def shown_frames(run: TrainingRun, footage: Footage, settings: RenderSettings, evaluation: Evaluation) -> list[Shown]:
    """Frames for the report: from each block a shut, a half-open and a wide-open mouth."""
    shown = []
    for block, scores in evaluation.blocks.items():
        ordered: list[FrameScore] = sorted(scores, key=lambda score: footage.opening[score.frame])
        picked = np.linspace(0, len(ordered) - 1, min(SHOWN_FRAMES // len(evaluation.blocks), len(ordered)))
        for score in (ordered[i] for i in picked.round().astype(int)):
            render = draw_frame(run.gaussians.gaussians(), run.network, footage, settings, score.frame)
            truth: NDArray[np.uint8] = footage.picture(score.frame)
            x0, y0, x1, y1 = footage.batch([score.frame]).lips[0].tolist()
            box = (x0, y0, x1, y1)
            shown.append(Shown(score.frame, block, truth, render, box, score.psnr, score.ssim, score.mouth_psnr))
    return shown


def lid_scores(run: TrainingRun, footage: Footage, lids: LidMotion | None) -> dict[str, float]:
    """`lid_closing` of held-out frames and `trained_lid_closing`: shares of the film's, as far as there are blinks."""
    if lids is None:
        return {}
    closing = LidClosing(run.network, footage, lids)
    found = {
        "lid_closing": closing.share(footage.held_out.all),
        "trained_lid_closing": closing.share(footage.train),
    }
    return {name: round(share, 4) for name, share in found.items() if share is not None}


def _facts(
    dataset: Dataset,
    footage: Footage,
    run: TrainingRun,
    config: FitConfig,
    speech: Speech,
    device: torch.device,
    precision: str,
) -> dict[str, str]:
    """The report's table of settings."""
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {
        "footage": f"{dataset.frames} frames of {dataset.width}x{dataset.height}",
        "trained / held out": f"{len(footage.train)} / {len(footage.held_out.inner) + len(footage.held_out.end)}",
        "features": f"{speech.spec.name}, look-ahead {speech.windows.look_ahead}",
        "Gaussians": f"{run.gaussians.count:,} (from {config.initial_gaussians:,}, at most {config.gaussians:,})",
        "bytes": f"{weigh(run) / 1e6:.1f} MB of Gaussians and network",
        "corrections": ", ".join(f"{name} {value:.3g}" for name, value in run.corrections.extent().items()),
        "frames a step": str(config.batch),
        "device": f"{on}, {precision}",
        "seed": str(config.seed),
    }


def weigh(run: TrainingRun) -> int:
    """Bytes of the Gaussians as a PLY file has them and of the network, single precision."""
    floats = sum(value[0].numel() for value in run.gaussians.gaussians().tensors().values()) * run.gaussians.count
    return 4 * (floats + sum(value.numel() for value in run.network.state_dict().values()))


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
