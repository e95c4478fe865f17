"""How far a stage is, by steps or by the wall clock, and what learning rate that means."""

from __future__ import annotations

import math
from dataclasses import dataclass

from being.training.config import FitConfig

STATIC, NETWORK = "static", "network"


@dataclass(frozen=True)
class Stage:
    """One stage: over after `steps` steps, or after `seconds` where a budget is set (then steps do not matter)."""

    name: str
    steps: int
    seconds: float | None = None

    def fraction(self, step: int, elapsed: float) -> float:
        """Share of the stage that is over, in [0, 1], after `step` steps and `elapsed` seconds in it."""
        if self.seconds is not None:
            return min(1.0, elapsed / self.seconds) if self.seconds > 0 else 1.0
        return min(1.0, step / self.steps) if self.steps else 1.0


def stages(config: FitConfig) -> tuple[Stage, Stage]:
    """The two stages of a run: static Gaussians, then the full network."""
    if config.minutes is None:
        return Stage(STATIC, config.static_steps), Stage(NETWORK, config.network_steps)
    total = config.minutes * 60
    static = total * config.static_minutes_share
    return Stage(STATIC, 0, static), Stage(NETWORK, 0, total - static)


def whole_run(name: str, steps: int | None, minutes: float) -> Stage:
    """The only stage of a run that is over after `minutes`, or after `steps` in place of them where they are given."""
    return Stage(name, 0, 60 * minutes) if steps is None else Stage(name, steps)


def decay(fraction: float, final: float) -> float:
    """Factor on the Gaussians' rates: exponential from 1 at the start of a stage to `final` at its end."""
    return final**fraction


def warm_cosine(fraction: float, warmup: float, final: float) -> float:
    """Factor on the network's rates: up from 0 over a share `warmup` of the stage, then half a cosine down to `final`.

    Adam's first steps are as long as its later ones whatever the gradient: without the slow start they would throw a
    face that already fits out of shape (measured: 29 dB to 20 dB and 600 steps to come back).
    """
    if fraction < warmup:
        return fraction / warmup
    rest = (fraction - warmup) / max(1 - warmup, 1e-9)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))
