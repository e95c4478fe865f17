"""Kernels are tried out on a device before they are used there; where they do not work, something plainer is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
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
        """The kernels; None where there is no GPU, or Triton does not work on it.

        Raises torch.OutOfMemoryError where the GPU is full just now: that says nothing of the kernels.
        """
        if device.type != "cuda":
            return None
        if device not in self._made:
            try:
                # Triton launches on the current device, wherever tensors lie.
                with torch.cuda.device(device) if torch.cuda.is_available() else nullcontext():
                    self._made[device] = self._make(device)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # a missing C compiler, a driver that Triton does not know: it raises all sorts
                log.warning("%s: %s (%s)", self._without, type(error).__name__, error)
                self._made[device] = None
        return self._made[device]
