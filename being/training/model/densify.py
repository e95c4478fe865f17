"""Where Gaussians are added and removed: a policy beside the loop.

Every round, Gaussians with a large gradient in screen space (the picture pulls them two ways at once) are cloned
where they are small and split where they are large; faint and oversized ones go. How many are added follows a budget
that grows over the stages to the cap, and who is added is drawn with probability proportional to the gradient, so no
threshold needs tuning to a picture size and one hard region cannot take the whole budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from being.model.deformation import rotate
from being.training.config import DensifyConfig
from being.training.model.parameters import GaussianParameters

SPLIT_SHRINK = 1.6  # a split Gaussian's halves are this much smaller
MOST_A_ROUND = 0.2  # of the present number


@dataclass
class ScreenGradients:
    """Running mean of the screen-space gradient of N Gaussians over the frames in which they were drawn."""

    total: Tensor  # (N,) pixels^-1
    seen: Tensor  # (N,) frames

    @staticmethod
    def zeros(count: int, device: torch.device | str) -> ScreenGradients:
        """Nothing seen yet."""
        return ScreenGradients(torch.zeros(count, device=device), torch.zeros(count, device=device))

    @staticmethod
    def of(probe_gradient: Tensor, radii: Tensor, frames: int) -> ScreenGradients:
        """One step's: probe_gradient (B N, 2) and radii (B N,) of `frames` B pictures."""
        visible = (radii > 0).reshape(frames, -1).float()
        norm = probe_gradient.norm(dim=-1).reshape(frames, -1) * visible
        return ScreenGradients(norm.sum(0), visible.sum(0))

    def add(self, step: ScreenGradients) -> None:
        """Take in one step."""
        self.total += step.total
        self.seen += step.seen

    def mean(self) -> Tensor:
        """(N,), 0 for Gaussians never drawn."""
        return self.total / self.seen.clamp(min=1)


@dataclass(frozen=True)
class Change:
    """What a round did, in numbers of Gaussians."""

    cloned: int
    split: int
    pruned: int


@dataclass(frozen=True)
class Densify:
    """The policy of one stage.

    Parameters
    ----------
    config : thresholds. first, last : numbers of Gaussians allowed at the stage's start and at its last round.
    """

    config: DensifyConfig
    first: int
    last: int

    def rounds_due(self, fraction: float) -> int:
        """Rounds that should have happened when `fraction` of the stage is over."""
        start, stop = self.config.start, self.config.stop
        if self.config.rounds == 0 or fraction < start:
            return 0
        span = max(stop - start, 1e-9)
        return min(self.config.rounds, 1 + int((fraction - start) / span * (self.config.rounds - 1) + 1e-9))

    def allowed(self, round_number: int) -> int:
        """Gaussians allowed after round 1, 2, ..."""
        return self.first + (self.last - self.first) * round_number // max(self.config.rounds, 1)

    @torch.no_grad()
    def apply(
        self, gaussians: GaussianParameters, gradients: ScreenGradients, round_number: int, generator: torch.Generator
    ) -> Change:
        """Prune, then grow up to the budget. `generator` lives on the CPU, so that runs repeat on any device."""
        values = gaussians.values
        device = values["xyz"].device
        size = values["log_scales"].exp().amax(1)
        opacity = values["opacity_logits"].sigmoid()
        gone = (opacity < self.config.prune_opacity) | (size > self.config.largest)
        if bool(gone.all()):
            gone[:] = False  # a diverged run must be seen as one, not end in an empty tensor
        free = self.allowed(round_number) - int((~gone).sum())
        free = max(0, min(free, math.ceil(MOST_A_ROUND * gaussians.count)))
        chance = gradients.mean() * (~gone & (size > self.config.smallest))
        chance = chance * (1 + self.config.face * gaussians.audio_gate)
        free = min(free, int((chance > 0).sum()))
        chosen = torch.zeros(0, dtype=torch.int64)
        if free:
            chosen = torch.multinomial(chance.double().cpu(), free, replacement=False, generator=generator)
        chosen = chosen.sort().values.to(device)
        big = size[chosen] > self.config.split_above
        clone, split = chosen[~big], chosen[big]

        # Two in place of one: each must cover what the square root of one did.
        halved = 1 - (1 - opacity[chosen].clamp(max=0.999)).sqrt()
        values["opacity_logits"][chosen] = torch.logit(halved.clamp(1e-4, 0.999))
        added = {name: value.detach()[torch.cat([clone, split, split])] for name, value in values.items()}
        jitter = self._spread(added, generator)
        added["xyz"] = added["xyz"] + jitter
        twice = slice(len(clone), None)
        added["log_scales"][twice] -= math.log(SPLIT_SHRINK)

        stays = ~gone
        stays[split] = False
        gate = gaussians.audio_gate[torch.cat([clone, split, split])]
        gaussians.rebuild(stays.nonzero()[:, 0], added, gate)
        return Change(cloned=len(clone), split=len(split), pruned=int(gone.sum()))

    @staticmethod
    def _spread(added: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        """Displacements drawn from the Gaussians themselves, (M, 3)."""
        normal = torch.randn(added["xyz"].shape, generator=generator).to(added["xyz"].device)
        quats = torch.nn.functional.normalize(added["quats"], dim=-1)
        return rotate(quats, normal * added["log_scales"].exp())

    @torch.no_grad()
    def reset_opacity(self, gaussians: GaussianParameters) -> None:
        """Lower every opacity to `config.reset_opacity`, so that Gaussians nobody needs fade and are pruned."""
        logits = gaussians.values["opacity_logits"]
        logits.clamp_(max=math.log(self.config.reset_opacity / (1 - self.config.reset_opacity)))
