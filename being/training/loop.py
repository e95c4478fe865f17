"""The training loop. Read `train_stage`: it is the table of contents."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from being.errors import InputError
from being.progress import Progress
from being.training.captured import CapturedStep, Scene
from being.training.config import FitConfig
from being.training.data.face import face_region
from being.training.data.footage import Batch, Footage, Lots
from being.training.distributed import ProcessGroup, SingleProcess, broadcast_values, share
from being.training.loss.losses import Loss, areas_of, box_mask, masked_mean, picture_loss, psnr
from being.training.loss.perceptual import Perceptual
from being.training.model.densify import Densify, ScreenGradients
from being.training.model.drawing import Picture, RenderSettings, draw
from being.training.model.face_motion import FaceMotion
from being.training.model.part_labels import update_part_labels
from being.training.quality.evaluate import held_out_psnr
from being.training.quality.spectrum import box_around
from being.training.run import TrainingRun
from being.training.schedule import NETWORK, STATIC, Stage, decay, warm_cosine

PLAIN_STEPS = 3  # of a stage before it is captured: they make the optimizers' moments and warm up libraries
LOG_EVERY = 20  # steps; reading a loss makes the GPU wait
LABELS_EVERY = 10  # rounds of densification between looks at the masks
CURVE_POINTS = 25  # held-out points of a stage's curve
SHARP_FRAMES = 16  # training frames at which is looked how sharp they are drawn
FOLLOW_EVERY = 4  # steps between looks at the poses of held-out frames


class Stop:
    """Set by a signal, looked at between steps, so that a stopped run always stands at a whole step."""

    def __init__(self) -> None:
        self.wanted = False

    @contextmanager
    def on_signals(self) -> Iterator[Stop]:
        """Turn the first SIGINT or SIGTERM into `wanted`; the second acts as usual. Only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def ask(number: int, frame: object) -> None:
            self.wanted = True
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, ask)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass(frozen=True)
class Learned:
    """What one worker's share of a step gave beside gradients: screen gradients, and means weighted by the share.

    numbers : loss, psnr (dB over the person), then the loss's parts; empty where nobody asked.
    """

    seen: ScreenGradients
    numbers: dict[str, torch.Tensor]


@dataclass
class Trainer:
    """What a stage needs beside the run itself.

    `save` writes a checkpoint, `report` gets the newest point of the curves; all workers of `process_group` call both.
    """

    run: TrainingRun
    footage: Footage
    settings: RenderSettings
    config: FitConfig
    perceptual: Perceptual | None
    progress: Progress
    save: Callable[[], None]
    stop: Stop
    process_group: ProcessGroup = field(default_factory=SingleProcess)
    report: Callable[[dict[str, Any]], None] = lambda point: None

    def __post_init__(self) -> None:
        self.mine = share(self.process_group, self.config.batch)  # of every batch
        self.face_region = face_region(self.footage)
        self.motion = FaceMotion(self.footage, self.config)
        scene = Scene(self.run, self.footage, self.settings, self.config, self.perceptual, self.motion)
        self.captured = CapturedStep(scene) if self.captures() else None

    def captures(self) -> bool:
        """Whether steps can be CUDA graphs: one worker on a GPU, which draws a step's pictures at once."""
        config = self.config
        return (
            config.cuda_graphs
            and self.footage.device.type == "cuda"
            and self.settings.backend in ("auto", "gsplat")
            and self.process_group.size == 1
            and config.precision != "bf16"
            and (config.frames_at_once or config.batch) >= config.batch
        )

    def train_stage(self, stage: Stage) -> bool:
        """Train one stage to its end, or until somebody wants to stop. Returns whether the stage is over."""
        run, position = self.run, self.run.position
        policy = densify_policy(self.config, stage)
        start, begun, saved = time.perf_counter(), position.elapsed, time.perf_counter()
        plain = 0
        self.progress.part(stage.name)
        while (fraction := stage.fraction(position.step, position.elapsed)) < 1:
            lots = self.footage.lots(self.config.batch, run.generator, self.mine)
            logged = (position.step + 1) % LOG_EVERY == 0 or position.step == 0
            turn = position.step // FOLLOW_EVERY if position.step % FOLLOW_EVERY == 0 else None
            numbers = self.try_captured(stage, lots, turn, fraction) if plain >= PLAIN_STEPS else None
            if numbers is None:
                learned = self.learn(stage, self.footage.disturbed(lots.to(self.footage.device)), logged)
                self.add_up(learned, [] if turn is None else self.follow(stage, turn))
                self.update(stage, fraction)
                numbers, plain = learned.numbers, plain + 1
            position.step += 1
            if policy.rounds_due(fraction) > position.rounds:
                self.densify(stage, policy)
            if stage.name == NETWORK and run.sharpening.due(fraction):
                self.look_how_sharp()
            if logged:
                self.log(stage, fraction, numbers)
            now = time.perf_counter()
            late = now - saved > self.config.checkpoint_every_s
            position.elapsed, stop, due = broadcast_values(
                self.process_group, begun + now - start, self.stop.wanted, late
            )
            if stop:
                self.stop.wanted = True
                break
            if due:
                self.save()
                saved = time.perf_counter()
        run.seconds[stage.name] = position.elapsed
        return stage.fraction(position.step, position.elapsed) >= 1

    def try_captured(
        self, stage: Stage, lots: Lots, turn: int | None, fraction: float
    ) -> dict[str, torch.Tensor] | None:
        """A captured step: its numbers for the curves. None where steps are not captured.

        One that cannot be captured has changed nothing yet: the run goes on from it with plain steps.
        """
        if self.captured is None:
            return None
        try:
            return self.captured(stage.name, lots, self.followed(turn), self.rates(stage, fraction))
        except RuntimeError as error:  # PyTorch's and CUDA's own, out of memory among them
            self.captured = None
            for parameter in self.run.parameters():
                parameter.grad = None
            why = (str(error).splitlines() or [type(error).__name__])[0]
            self.progress.note(f"steps cannot be captured as CUDA graphs ({why}): training goes on without, slower")
            return None

    def learn(self, stage: Stage, batch: Batch, logged: bool) -> Learned:
        """Gradients of this worker's share of a batch, a few frames at once; numbers for the curves where `logged`."""
        parts = batch.split(self.config.frames_at_once)
        gaussians = self.run.gaussians
        seen = ScreenGradients.zeros(gaussians.count, gaussians.audio_gate.device)
        areas = self.areas(parts)
        numbers: dict[str, torch.Tensor] = {}
        self.run.network.train()  # dropout acts where something is learned, not where the person is looked at
        for part in parts:
            picture, probe = self.draw(stage, part)
            weight = part.count / self.config.batch
            loss = self.loss(picture, part, None if areas is None else areas * weight)
            (loss.total * weight).backward()
            assert probe.grad is not None
            seen.add(ScreenGradients.of(probe.grad, picture.radii, part.count))
            if logged:
                with torch.no_grad():
                    found = {"loss": loss.total, "psnr": psnr(picture.rgb, part.truth, part.mask).mean(), **loss.parts}
                    numbers = {name: numbers.get(name, 0) + value * weight for name, value in found.items()}
        self.run.network.eval()
        return Learned(seen, numbers)

    def areas(self, parts: Sequence[Batch]) -> torch.Tensor | None:
        """What the batch's box terms are divided by; None where one worker draws it at once.

        Boxes differ in size: means over the parts would not add up to the batch's.
        """
        if self.process_group.size == 1 and len(parts) == 1:
            return None
        areas = torch.stack([areas_of(part.lips, part.eyes, part.teeth, part.mask) for part in parts]).sum(0)
        self.process_group.sum([areas])
        return areas

    def draw(self, stage: Stage, batch: Batch) -> tuple[Picture, torch.Tensor]:
        """The frames as the model sees them now, and the probe that collects screen gradients."""
        gaussians = self.run.gaussians.gaussians()
        device = gaussians.xyz.device
        probe = torch.zeros(batch.count * gaussians.count, 2, device=device, requires_grad=True)
        network = self.run.network if stage.name == NETWORK else None
        return draw(gaussians, network, batch, self.settings, probe, self.run.corrections, self.motion.points), probe

    def loss(self, picture: Picture, batch: Batch, areas: torch.Tensor | None) -> Loss:
        """What the pictures cost."""
        displacement = None if picture.offsets is None else picture.offsets.xyz
        windows = batch.face, self.footage.face_side
        loss = picture_loss(
            picture.rgb,
            picture.alpha,
            self.run.sharpening.taught(batch.truth, batch.alpha, *windows),
            batch.mask,
            batch.lips,
            batch.eyes,
            self.config.loss,
            displacement,
            self.perceptual,
            batch.teeth,
            self.run.corrections.cost(),
            areas,
            batch.alpha,
            windows,
        )
        if picture.moved is not None:
            for name, part in self.motion.costs(picture.moved, batch).items():
                loss = loss.with_part(name, part)
        return loss

    def followed(self, turn: int | None) -> list[int] | None:
        """The held-out frames of a turn, of the whole batch; None for none."""
        held = self.footage.held_out.all
        if turn is None or not held or "head" not in self.run.corrections.rates:
            return None
        count = min(self.config.batch, len(held))
        return [held[(turn * count + k) % len(held)] for k in range(count)]

    def follow(self, stage: Stage, turn: int) -> list[torch.Tensor]:
        """Gradients that move the head and torso poses of some held-out frames towards their pictures; [] for none.

        The box around the lips is left out: what is measured later, the mouth following the sound, must not show in
        how the frame was posed.
        """
        corrections, frames = self.run.corrections, self.followed(turn)
        if frames is None:
            return []
        count, mine = len(frames), frames[self.mine]
        totals = [torch.zeros_like(pose) for pose in corrections.poses]
        network = self.run.network if stage.name == NETWORK else None
        for batch in self.footage.batch(mine).split(self.config.frames_at_once) if mine else ():
            picture = draw(self.run.gaussians.gaussians(), network, batch, self.settings, None, corrections)
            height, width = batch.mask.shape[1:]
            outside = 1 - box_mask(batch.lips[:, None], height, width)
            cost = masked_mean((picture.rgb - batch.truth).abs().mean(-1), outside) * (batch.count / count)
            for total, gradient in zip(totals, torch.autograd.grad(cost, corrections.poses), strict=True):
                total += gradient
        return totals

    def add_up(self, learned: Learned, followed: list[torch.Tensor]) -> None:
        """Gradients of the whole batch: each worker's loss counts by its share of the frames, so they add up."""
        if self.process_group.size > 1:
            gradients = [parameter.grad for parameter in self.run.parameters() if parameter.grad is not None]
            self.process_group.sum([*gradients, *followed, learned.seen.total, learned.seen.seen])
        for pose, gradient in zip(self.run.corrections.poses if followed else [], followed, strict=True):
            pose.grad = gradient if pose.grad is None else pose.grad + gradient
        self.run.gradients.add(learned.seen)

    def update(self, stage: Stage, fraction: float) -> None:
        """One optimizer step of everything the stage trains."""
        corrections, network, gaussians = self.rates(stage, fraction)
        self.run.corrections.step(corrections)
        if stage.name == NETWORK:
            self.run.step_network(network)
        self.run.gaussians.step(gaussians)

    def rates(self, stage: Stage, fraction: float) -> tuple[float, float, float]:
        """Factors on the rates of corrections, network and Gaussians."""
        rates = self.config.lr
        factor = decay(fraction, rates.final)
        if stage.name == STATIC:
            return factor, 0.0, factor
        slower = factor * self.config.corrections.in_network_stage
        return slower, warm_cosine(fraction, rates.warmup, rates.final), factor * rates.gaussians_in_network_stage

    def densify(self, stage: Stage, policy: Densify) -> None:
        """One round of adding and removing Gaussians, the same on every worker: same numbers, same random generator."""
        run = self.run
        run.position.rounds += 1
        self.process_group.broadcast([*(p.data for p in run.parameters()), run.gradients.total, run.gradients.seen])
        policy.apply(run.gaussians, run.gradients, run.position.rounds, run.generator)
        halfway = run.position.rounds == policy.config.rounds // 2
        if stage.name == STATIC and halfway and policy.config.reset_opacity > 0:
            policy.reset_opacity(run.gaussians)
        if run.position.rounds % LABELS_EVERY == 0:
            update_part_labels(run.gaussians, self.footage, self.settings, self.face_region)
            self.process_group.broadcast([run.gaussians.values["head_weight"].data, run.gaussians.audio_gate])
        run.gradients = ScreenGradients.zeros(run.gaussians.count, run.gaussians.audio_gate.device)

    def look_how_sharp(self) -> None:
        """What drawn training frames lack of the film's fine structure is taught stronger from now on."""
        run, footage = self.run, self.footage
        frames = [footage.train[k] for k in np.linspace(0, len(footage.train) - 1, SHARP_FRAMES).round().astype(int)]
        drawn, filmed = [], []
        with torch.no_grad():
            for batch in footage.batch(frames).split(self.config.frames_at_once or self.config.batch):
                picture = draw(run.gaussians.gaussians(), run.network, batch, self.settings, None, run.corrections)
                drawn.append(picture.rgb.clamp(0, 1))
                filmed.append(batch.truth)
        boxes = [box_around(footage.landmarks[frame], footage.height, footage.width) for frame in frames]
        run.sharpening.look(torch.cat(drawn), torch.cat(filmed), boxes)
        self.process_group.broadcast([run.sharpening.gains])
        run.sharpening.set(run.sharpening.gains, run.sharpening.looks)

    def log(self, stage: Stage, fraction: float, found: dict[str, torch.Tensor]) -> None:
        """A point of the curves; now and then with held-out frames."""
        run, step = self.run, self.run.position.step
        numbers = torch.stack(list(found.values()))
        self.process_group.sum([numbers])
        total, seen, *parts = numbers.tolist()
        if total != total:
            raise InputError(
                f"the loss is not a number at step {step} of the {stage.name} stage",
                "Lower the learning rates (--lr-network, --lr-xyz) and start again with --restart",
            )
        point: dict[str, Any] = {
            "stage": stage.name,
            "fraction": round(fraction, 5),
            "step": step,
            "loss": total,
            "psnr": seen,
            "gaussians": run.gaussians.count,
            **dict(zip(list(found)[2:], parts, strict=True)),
        }
        done = sum(1 for p in run.history if p["stage"] == stage.name and "held_out" in p)
        if fraction * CURVE_POINTS >= done and self.process_group.rank == 0:
            network = run.network if stage.name == NETWORK else None
            point["held_out"] = held_out_psnr(
                run.gaussians.gaussians(), network, self.footage, self.settings, run.corrections
            )
        run.history.append(point)
        shown = {"psnr": seen, "held_out": point["held_out"]} if "held_out" in point else {"psnr": seen}
        self.progress.update(fraction, loss=total, **shown, gaussians=run.gaussians.count, step=step)
        self.report(point)


def densify_policy(config: FitConfig, stage: Stage) -> Densify:
    """The budget of a stage: the static stage grows part of the way to the cap, the network stage the rest."""
    middle = config.initial_gaussians + round(
        (config.gaussians - config.initial_gaussians) * config.densify.static_share
    )
    if stage.name == STATIC:
        return Densify(config.densify, config.initial_gaussians, middle)
    return Densify(config.densify, middle, config.gaussians)
