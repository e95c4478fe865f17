"""The training loop: random stretches of the corpus, freshly distorted every time, soft targets, one cosine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from being.audio.features import STEP, STEPS_PER_SECOND
from being.audio.phones import LEFT_CONTEXT, RIGHT_CONTEXT
from being.audio.phones_training.articulation import silence_targets
from being.audio.phones_training.augment import augment
from being.audio.phones_training.corpus import Corpus
from being.audio.phones_training.network import MelFrames, PhonesNetwork
from being.audio.visemes import VISEMES


@dataclass(frozen=True)
class TrainingConfig:
    minutes: float = 3.0  # wall-clock limit of the training itself
    steps: int = 20_000  # and a limit of its steps
    batch: int = 128  # stretches a step
    stretch_s: float = 3.0  # scored sound in each, besides its context
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    seed: int = 0


# Errors on rare visemes that everyone sees weigh more: lips that fail to close look wrong at once.
_VISEME_WEIGHT = {"PP": 1.4, "FF": 1.4, "TH": 1.4, "sil": 0.7}
_ARTICULATOR_WEIGHT = 2.0


def train(
    corpus: Corpus,
    config: TrainingConfig,
    device: torch.device,
    start: Path | None = None,
    progress: Callable[[str], None] = print,
) -> PhonesNetwork:
    """A trained network in eval mode, on ``device``. Stops at the time or the step limit, whichever comes first.

    ``start``: weights to go on from; their answers then change little, so avatars that listen to them stay valid.
    """
    torch.manual_seed(config.seed)
    generator = torch.Generator(device).manual_seed(config.seed)
    pcm = torch.from_numpy(corpus.pcm).to(device)
    targets = torch.from_numpy(corpus.targets).to(device)
    mel, network = MelFrames().to(device), PhonesNetwork().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    weights = torch.tensor([_VISEME_WEIGHT.get(v, 1.0) for v in VISEMES], device=device)

    network.train()
    if start is not None:
        network.load(start)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.eval()
    started, told = time.monotonic(), 0.0
    for step in range(config.steps):
        elapsed = time.monotonic() - started
        done = max(elapsed / (60.0 * config.minutes), step / config.steps)  # share of the budget, 0..1
        if done >= 1.0:
            break
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * done))
        sound, wanted = _stretches(pcm, targets, config, generator)
        with torch.no_grad():
            frames = _masked(mel(augment(sound, generator)), generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(frames)
        loss = phones_loss(logits.float(), wanted, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if elapsed - told > 5.0:
            told = elapsed
            progress(f"training {100 * done:.0f}%, step {step}, loss {loss.item():.3f}, {elapsed:.0f} s")
    return network.eval()


def phones_loss(logits: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy of the visemes plus binary cross-entropy of the articulators.

    logits, wanted : (B, n, WIDTH), wanted in [0, 1]; weights : (15,)
    """
    visemes = len(VISEMES)
    share = wanted[..., :visemes]
    share = share / share.sum(dim=-1, keepdim=True).clamp_min(1e-3)
    entropy = -(share * weights * torch.log_softmax(logits[..., :visemes], dim=-1)).sum(dim=-1).mean()
    articulators = torch.nn.functional.binary_cross_entropy_with_logits(logits[..., visemes:], wanted[..., visemes:])
    return entropy + _ARTICULATOR_WEIGHT * articulators


def _stretches(
    pcm: Tensor, targets: Tensor, config: TrainingConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random stretches: sound (B, S) float32 with context on both sides, targets (B, n, WIDTH) of the scored steps."""
    count = round(config.stretch_s * STEPS_PER_SECOND)
    before = -(-LEFT_CONTEXT // STEP)
    after = -(-RIGHT_CONTEXT // STEP)
    last = len(targets) - count - before - after
    first = torch.randint(0, last, (config.batch, 1), device=pcm.device, generator=generator)
    start = (first + before) * STEP - LEFT_CONTEXT
    samples = torch.arange(LEFT_CONTEXT + count * STEP + RIGHT_CONTEXT, device=pcm.device)
    sound = pcm[start + samples].float() / 32767.0
    steps = first + before + torch.arange(count, device=pcm.device)
    return _muted(sound, targets[steps].float() / 255.0, generator)


def _muted(sound: Tensor, wanted: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Take the voice away in some rows, wholly or up to a moment: what is left is a room in which nobody speaks."""
    rows, count, _ = wanted.shape
    draw = torch.rand((rows, 2), device=sound.device, generator=generator)
    share = torch.where(draw[:, :1] < 0.05, 2.0, torch.where(draw[:, :1] < 0.15, draw[:, 1:], -2.0))
    last = (share * count).round()  # steps from the first scored one
    samples = torch.arange(sound.shape[1], device=sound.device)
    sound = sound * (samples >= LEFT_CONTEXT + last * STEP)
    silent = torch.from_numpy(silence_targets()).to(sound.device)
    gone = torch.arange(count, device=sound.device) < last
    return sound, torch.where(gone[:, :, None], silent, wanted)


def _masked(mel: Tensor, generator: torch.Generator) -> Tensor:
    """Blank a few neighbouring bands in every third row (Park et al. 2019), towards silence."""
    rows, bands, _ = mel.shape
    low = torch.randint(0, bands, (rows, 1), device=mel.device, generator=generator)
    width = torch.randint(0, 7, (rows, 1), device=mel.device, generator=generator)
    width = width * (torch.rand((rows, 1), device=mel.device, generator=generator) < 0.33)
    band = torch.arange(bands, device=mel.device)
    return mel * ((band < low) | (band >= low + width))[:, :, None]
