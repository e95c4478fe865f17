"""CUDA graphs by bucket: a step of hundreds of kernels is launched as one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

WARM_UPS = 3  # cuDNN chooses its algorithms in the first


class Graphs:
    """Functions of tensors with N rows, recorded once by key and then replayed; on a CPU they are called.

    A replay reads its inputs where the recording's lay and leaves its result where the last one lay: it is to be read
    before the next call. All recordings share one pool of memory, so one is replayed at a time.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._recorded: dict[Hashable, tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]] = {}
        self._pool: Any = None

    def __len__(self) -> int:
        return len(self._recorded)

    def __call__(self, key: Hashable, function: Callable[..., Tensor], count: int, *inputs: Tensor) -> Tensor:
        """function(*inputs), recorded for `count` rows; inputs may have fewer, the result has as many as they."""
        if self._device.type != "cuda":
            return function(*inputs)
        if key not in self._recorded:
            self.record(key, function, *(_filled(value, count) for value in inputs))
        graph, places, result = self._recorded[key]
        for place, value in zip(places, inputs, strict=True):
            place[: len(value)].copy_(value, non_blocking=True)
        graph.replay()
        return result[: len(inputs[0])]

    def record(self, key: Hashable, function: Callable[..., Tensor], *inputs: Tensor) -> None:
        """Record a function for inputs of these shapes; nothing on a CPU."""
        if self._device.type != "cuda":
            return
        places = tuple(value.to(self._device, copy=True) for value in inputs)
        beside = torch.cuda.Stream(self._device)
        beside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(beside), torch.backends.cudnn.flags(enabled=True, benchmark=True):
            for _ in range(WARM_UPS):
                function(*places)
            beside.synchronize()
            graph = torch.cuda.CUDAGraph()
            # other threads may load an avatar meanwhile
            with torch.cuda.graph(graph, pool=self._pool, stream=beside, capture_error_mode="thread_local"):
                result = function(*places)
        torch.cuda.current_stream(self._device).wait_stream(beside)
        self._pool = self._pool or graph.pool()
        self._recorded[key] = graph, places, result


def _filled(value: Tensor, count: int) -> Tensor:
    """`count` rows, the first repeated behind those that are there."""
    return torch.cat([value, value[:1].expand(count - len(value), *value.shape[1:])])
