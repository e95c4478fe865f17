"""The training loop of a refiner."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from being.progress import Progress
from being.refine.native.network import RefineConfig, RefineNetwork
from being.training.loop import Stop
from being.training.loss.perceptual import Perceptual
from being.training.refiner.config import RefinerConfig
from being.training.refiner.losses import Discriminator, discriminator_loss, refiner_loss
from being.training.refiner.pairs import CropSampler, Pairs
from being.training.refiner.references import choose, guides, size_of

AVERAGE = 0.998  # of the weights over the last steps, which is what is kept
WARM_UP = 0.02  # share of the training in which the rate rises
ALONE = 0.1  # share of the training before the discriminator counts
LOG_EVERY = 20  # steps


@dataclass
class Trained:
    """What came of it: the network, its averaged weights on the CPU, points of the curves, steps made, whether it was
    stopped early."""

    network: RefineConfig
    state: dict[str, Tensor]
    history: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    stopped: bool = False


def train(
    pairs: Pairs,
    config: RefinerConfig,
    device: torch.device,
    perceptual: Perceptual | None,
    progress: Progress,
    stop: Stop,
) -> Trained:
    """Train until the minutes or the steps of the configuration are over, or somebody wants to stop."""
    torch.manual_seed(config.seed)
    guided = None
    count, texels = size_of(pairs)
    count = count if config.references is None else min(count, config.references)
    shape = config.network.model_copy(update={"references": count, "texels": texels} if count else {"references": 0})
    network = RefineNetwork(shape)
    if count:
        progress.note(f"laying {count} reference frames onto {len(pairs)} renders")
        chosen = choose(pairs, count, texels)
        network.references = chosen.references
        guided = guides(pairs, chosen)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    discriminator = Discriminator().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    critic = torch.optim.AdamW(discriminator.parameters(), lr=config.rate, betas=(0.5, 0.99))
    sampler = CropSampler(pairs, config.size, config.seen, config.seed, guided)
    half = config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda")
    out = Trained(shape, {})
    start = time.perf_counter()

    def over() -> float:
        if config.steps is not None:
            return out.steps / config.steps
        return (time.perf_counter() - start) / (60 * config.minutes)

    while (fraction := over()) < 1 and not stop.wanted:
        for group in (*optimizer.param_groups, *critic.param_groups):
            group["lr"] = config.rate * min(1.0, fraction / WARM_UP) * 0.5 * (1 + math.cos(math.pi * fraction))
        crops = sampler.draw(config.batch // 2)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            change = network(crops.entering().contiguous(memory_format=torch.channels_last))
        refined = crops.render + change.float()
        adversarial = fraction >= ALONE
        weights = config.weights if adversarial else config.weights.model_copy(update={"adversarial": 0.0})
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            parts = refiner_loss(refined, crops, weights, discriminator, perceptual)
        optimizer.zero_grad(set_to_none=True)
        torch.stack([part.float() for part in parts.values()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        judged = torch.zeros(())
        if config.weights.adversarial or config.weights.features:
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                judged = discriminator_loss(discriminator, refined, crops)
            critic.zero_grad(set_to_none=True)
            judged.backward()
            critic.step()
        keep = min(AVERAGE, (1 + out.steps) / (10 + out.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)
        out.steps += 1
        if out.steps % LOG_EVERY == 1:
            numbers = {name: float(part.detach()) for name, part in parts.items()} | {"critic": float(judged.detach())}
            out.history.append({"fraction": fraction, **numbers})
            progress.update(fraction, step=out.steps, **{k: round(v, 5) for k, v in numbers.items()})
    out.stopped = stop.wanted
    out.state = {name: value.detach().cpu().contiguous() for name, value in average.state_dict().items()}
    return out
