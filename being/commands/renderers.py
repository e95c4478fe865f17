"""How many processes draw, and whether some of them share a GPU.

Measured on an H100 with 64 live faces (docs/capacity.md): two renderers that share it by NVIDIA's Multi-Process Service
answer sooner than one, whose interpreter makes ticks wait for each other; without the service they gain nothing.
"""

from __future__ import annotations

import math
from typing import Any

from being.commands.deployment_settings import deployments_of, with_replicas

RENDERER = "Renderer"


def with_renderers(settings: dict[str, Any], count: int, gpus: int) -> dict[str, Any]:
    """The configuration with so many renderers, which share the GPUs evenly."""
    if not gpus:
        return with_replicas(settings, RENDERER, count)
    share = gpus / count
    if share < 1:  # never more than there is, taken together
        share = math.floor(1e4 / math.ceil(count / gpus)) / 1e4
    return with_replicas(settings, RENDERER, count, num_gpus=share if share < 1 else math.floor(share))


def stated_renderers(settings: dict[str, Any]) -> int:
    """How many a configuration asks for, or may come to; one where it does not say."""
    for said in deployments_of(settings, RENDERER):
        count = said.get("num_replicas", 1)
        if (scaling := said.get("autoscaling_config")) is not None:
            count = scaling.get("max_replicas", 1)
        return count if isinstance(count, int) else 1
    return 1


def renderers_share_a_gpu(settings: dict[str, Any], gpus: int) -> bool:
    """Whether there are more of them than GPUs."""
    return 0 < gpus < stated_renderers(settings)
