"""Kernels are tried out on a device before they are used there; where they do not work, something plainer is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

log = logging.getLogger(__name__)

Kernels = TypeVar("Kernels")


class KernelTrial(Generic[Kernels]):
    """What `make(device)` makes, which imports kernels and runs each of them once; made once for a device.

    without : what is said once where they do not work, "faces are cut out without kernels, slower".
    """

    def __init__(self, make: Callable[[torch.device], Kernels], without: str) -> None:
        self._make, self._without = make, without
        self._made: dict[torch.device, Kernels | None] = {}

    def on(self, device: torch.device) -> Kernels | None:
        """The kernels; None where there is no GPU, or Triton does not work on it."""
        if device.type != "cuda":
            return None
        if device not in self._made:
            try:
                self._made[device] = self._make(device)
            except torch.OutOfMemoryError:  # it may work the next time
                return None
            except Exception as error:  # a missing C compiler, a driver that Triton does not know: it raises all sorts
                log.warning("%s: %s (%s)", self._without, type(error).__name__, error)
                self._made[device] = None
        return self._made[device]
