"""Timesteps and the noise at them (the forward process of DDPM, Ho et al. 2020, equation 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from being.errors import FormatError

STEPS = 1000  # timesteps that Stable Diffusion is trained on


def timestep_of(strength: float, timesteps: Sequence[int]) -> int:
    """The lightest of ascending timesteps that reaches a strength in (0, 1]: of two, the first up to 0.5."""
    return timesteps[min(max(math.ceil(strength * len(timesteps) - 1e-6), 1), len(timesteps)) - 1]


def signal_shares(config: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """(1000,) share of the signal's variance at each timestep (cumulative alpha), by diffusers' scheduler_config.json.

    Raises
    ------
    FormatError
        A noise schedule other than Stable Diffusion's.
    """
    kind, start, end = (config.get(key) for key in ("beta_schedule", "beta_start", "beta_end"))
    if config.get("num_train_timesteps", STEPS) != STEPS or not isinstance(start, float) or not isinstance(end, float):
        raise FormatError(f"scheduler_config.json: no schedule of {STEPS} steps", "Take a model of the SD-turbo kind")
    if kind == "scaled_linear":
        betas = np.linspace(start**0.5, end**0.5, STEPS) ** 2
    elif kind == "linear":
        betas = np.linspace(start, end, STEPS)
    else:
        raise FormatError(f"scheduler_config.json: beta_schedule is {kind!r}", "Take a model of the SD-turbo kind")
    return np.cumprod(1 - betas)
