"""The training loop of a LoRA.

    loss = the parts of `being.training.refiner.losses` of p + m (r - p) against t + latent mean m' (z - E(t))^2

`r` is the refined crop, `p` the render, `t` the film's, `m` the mask by which the refined face is laid over the render
live, `z` the latents behind `r`, E the encoder, m' the mask over latents. The gradient passes the decoder.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from being.errors import InputError
from being.progress import Progress
from being.refine.streamdiffusion.lora_layout import Factors
from being.refine.streamdiffusion.noise import CELL
from being.training.loop import Stop
from being.training.loss.perceptual import Perceptual
from being.training.refiner.config import RefineWeights
from being.training.refiner.lora.adapter import Adapter
from being.training.refiner.lora.config import LoraConfig
from being.training.refiner.lora.face_crops import FaceCrops, FaceCropSampler
from being.training.refiner.losses import refiner_loss
from being.training.schedule import whole_run

AVERAGE = 0.99  # of the factors over the last steps, which is what is kept: there are hundreds of steps
WARM_UP = 0.05  # share of the training in which the rate rises
LOG_EVERY = 10  # steps


@dataclass
class TrainedLora:
    """What came of it: averaged factors, on the CPU; points of the curves; steps made; whether stopped early."""

    factors: Factors
    history: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    stopped: bool = False


def lora_loss(
    adapter: Adapter, drawn: FaceCrops, weights: RefineWeights, latent: float, perceptual: Perceptual | None
) -> dict[str, Tensor]:
    """The weighted parts by name."""
    refined, latents = adapter(drawn.crops.render, drawn.told, drawn.depth)
    laid = torch.lerp(drawn.crops.render, refined, drawn.masks)
    parts = refiner_loss(laid, drawn.crops, weights, None, perceptual)
    if latent:
        target = adapter.encode(drawn.crops.truth).float()
        cells = F.avg_pool2d(drawn.masks, CELL).permute(0, 2, 3, 1)
        parts["latent"] = latent * (cells * (latents - target).square()).mean()
    return parts


def train_lora(
    adapter: Adapter,
    sampler: FaceCropSampler,
    config: LoraConfig,
    perceptual: Perceptual | None,
    progress: Progress,
    stop: Stop,
) -> TrainedLora:
    """Train the factors until the minutes or the steps of the configuration are over, or somebody wants to stop; the
    adapter holds the averaged ones afterwards.

    Raises
    ------
    InputError
        Numbers went out of range.
    """
    torch.manual_seed(config.seed)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=config.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    average = {layer: (down.detach().clone(), up.detach().clone()) for layer, (down, up) in adapter.factors().items()}
    out = TrainedLora(average)
    stage = whole_run("lora", config.steps, config.minutes)
    start = time.perf_counter()
    while (fraction := stage.fraction(out.steps, time.perf_counter() - start)) < 1 and not stop.wanted:
        for group in optimizer.param_groups:
            group["lr"] = config.rate * min(1.0, (fraction + 1e-3) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * fraction))
        parts = lora_loss(adapter, sampler.draw(config.batch // 2), config.weights, config.latent, perceptual)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(adapter.parameters(), 1.0)
        optimizer.step()
        out.steps += 1
        keep = min(AVERAGE, out.steps / (10 + out.steps))
        with torch.no_grad():
            for layer, factors in adapter.factors().items():
                torch._foreach_lerp_(list(average[layer]), list(factors), 1 - keep)
        if out.steps % LOG_EVERY == 1:
            numbers = {name: float(part.detach()) for name, part in parts.items()}
            if not all(math.isfinite(value) for value in numbers.values()):
                raise InputError(f"step {out.steps}: the loss is not finite", "Lower --rate")
            out.history.append({"fraction": fraction, **numbers})
            progress.update(fraction, step=out.steps, **{k: round(v, 5) for k, v in numbers.items()})
    out.stopped = stop.wanted
    if not all(bool(part.isfinite().all()) for pair in average.values() for part in pair):
        raise InputError("the factors are not finite", "Lower --rate")
    adapter.take(average)
    out.factors = {layer: (down.cpu(), up.cpu()) for layer, (down, up) in average.items()}
    return out
