"""The training loop of a refiner."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from being.progress import Progress
from being.refine.native.network import RefineConfig, RefineNetwork
from being.training.loop import Stop
from being.training.loss.perceptual import Perceptual
from being.training.refiner.config import RefinerConfig
from being.training.refiner.guard import Guard, apart
from being.training.refiner.losses import Discriminator, discriminator_loss, refiner_loss
from being.training.refiner.measured_gain import with_gain
from being.training.refiner.pairs import CropSampler, Pairs
from being.training.refiner.references import Chosen, choose, own_guides, size_of
from being.training.schedule import whole_run

AVERAGE = 0.998  # of the weights over the last steps, which is what is kept
WARM_UP = 0.02  # share of the training in which the rate rises
CHECKED = 4  # states of the network, evenly over the training, of which the best is kept
ALONE = 0.1  # share of the training before the discriminator counts
LOG_EVERY = 20  # steps


@dataclass
class Trained:
    """What came of it.

    network, state : sizes, and averaged weights and references on the CPU; where no network was trained, or none was
    better than the references, width is 0. history : points of the curves. steps : made. guard : scores of the states
    of the network against the references alone, see `Guard`. alone : the references without the network, where there
    is one on top of them. stopped : early.
    """

    network: RefineConfig
    state: dict[str, Tensor]
    history: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    guard: dict[str, float] = field(default_factory=dict)
    alone: Trained | None = None
    stopped: bool = False


def train(
    pairs: Pairs,
    config: RefinerConfig,
    device: torch.device,
    perceptual: Perceptual | None,
    progress: Progress,
    stop: Stop,
) -> Trained:
    """Lay out the references and, where wanted, train a network on top of them until the minutes or the steps of the
    configuration are over, or somebody wants to stop. A network that is no better than the references is not kept."""
    torch.manual_seed(config.seed)
    count, texels = size_of(pairs)
    count = count if config.references is None else min(count, config.references)
    shape = config.network.model_copy(update={"references": count, "texels": texels} if count else {"references": 0})
    if not config.learned:
        shape = shape.model_copy(update={"width": 0})
    network, guided, chosen = RefineNetwork(shape), None, None
    if count:
        progress.note(f"{count} reference frames of {int((pairs.seen & (pairs.avatars == 0)).sum())}")
        chosen = choose(pairs, count, texels)
        network.references = chosen.references
        if config.learned:
            progress.note(f"laying reference frames onto {len(pairs)} renders")
            guided = own_guides(pairs, chosen)
    if not config.learned:
        return Trained(*_finished(shape, network.state_dict(), pairs, chosen))
    guard = Guard(pairs, guided, perceptual)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    discriminator = Discriminator().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    critic = torch.optim.AdamW(discriminator.parameters(), lr=config.rate, betas=(0.5, 0.99))
    sampler = CropSampler(pairs, config.size, config.seen, config.seed, guided, apart(pairs))
    half = config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda")
    out = Trained(shape, {})
    states: list[dict[str, Tensor]] = []
    stage = whole_run("refiner", config.steps, config.minutes)
    start = time.perf_counter()
    while (fraction := stage.fraction(out.steps, time.perf_counter() - start)) < 1 and not stop.wanted:
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
        if fraction >= (len(states) + 1) / CHECKED:
            states.append(_on_cpu(average))
        if out.steps % LOG_EVERY == 1:
            numbers = {name: float(part.detach()) for name, part in parts.items()} | {"critic": float(judged.detach())}
            out.history.append({"fraction": fraction, **numbers})
            progress.update(fraction, step=out.steps, **{k: round(v, 5) for k, v in numbers.items()})
    out.stopped = stop.wanted
    kept, out.guard = guard.best(shape, [*states, _on_cpu(average)])
    worse = kept is None and count > 0
    if worse:
        progress.note("the network is no better than the references alone on frames that were kept apart: left out")
    else:
        out.network, out.state = _finished(shape, kept or _on_cpu(average), pairs, chosen)
    if count:
        references = {name: value for name, value in _on_cpu(average).items() if name.startswith("references.")}
        alone = Trained(*_finished(shape.model_copy(update={"width": 0}), references, pairs, chosen))
        out = replace(out, network=alone.network, state=alone.state) if worse else replace(out, alone=alone)
    return out


def _finished(
    shape: RefineConfig, state: Mapping[str, Tensor], pairs: Pairs, chosen: Chosen | None
) -> tuple[RefineConfig, dict[str, Tensor]]:
    """With the gain of its detail, on the CPU."""
    network = RefineNetwork(shape)
    network.load_state_dict(dict(state))
    network = with_gain(network, pairs, chosen)
    return network.config, _on_cpu(network)


def _on_cpu(network: RefineNetwork) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
