"""How many processes draw, and whether some of them share a GPU.

Measured on an H100 with 64 live faces (docs/capacity.md): two renderers that share it by NVIDIA's Multi-Process Service
answer sooner than one, whose interpreter makes ticks wait for each other. What they gain without it is not known.
"""

from __future__ import annotations

import math
from typing import Any

from being.commands.deployment_settings import deployments, deployments_of, most_replicas, with_replicas
from being.errors import InputError

RENDERER = "Renderer"


def with_renderers(settings: dict[str, Any], count: int, gpus: int) -> dict[str, Any]:
    """The configuration with so many renderers in each application, which share what others leave of the GPUs.

    Raises
    ------
    InputError
        Others leave nothing.
    """
    if not gpus:
        return with_replicas(settings, RENDERER, count)
    others = sum(_gpus_asked(one) for one in deployments(settings) if one.get("name") != RENDERER)
    each = count * len(settings["applications"])
    # A renderer is on one GPU or has several: rounded down, so that no GPU has to be cut in two for one.
    share = (gpus - others) / each if others or each < gpus else 1 / math.ceil(each / gpus)
    share = math.floor(1e4 * share) / 1e4 if share < 1 else math.floor(share)
    if share <= 0:
        raise InputError(
            f"other deployments ask for {others:g} of {gpus} GPUs: nothing is left for {each} renderers",
            "Lower their num_gpus",
        )
    return with_replicas(settings, RENDERER, count, num_gpus=share)


def _gpus_asked(said: dict[str, Any]) -> float:
    each = (said.get("ray_actor_options") or {}).get("num_gpus", 0)
    return float(each) * most_replicas(said)


def stated_renderers(settings: dict[str, Any]) -> int:
    """How many a configuration asks for, or may come to, over all its applications; one where it does not say."""
    return max(1, sum(most_replicas(said) for said in deployments_of(settings, RENDERER)))


def renderers_share_a_gpu(settings: dict[str, Any], gpus: int) -> bool:
    """Whether there are more of them than GPUs."""
    return 0 < gpus < stated_renderers(settings)
