"""One network on a device for all avatars of one architecture: weights are swapped in, CUDA graphs are shared.

All weights lie in one buffer, so that swapping an avatar in is one copy on the device (6 MB, microseconds), and a graph
captured once for a size of crops serves everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from being.refine.native.network import CHANNELS, RefineConfig, RefineNetwork

ALIGNMENT = 64  # numbers; kernels read weights in blocks of 128 bytes
MOST_AT_ONCE = 16  # crops; of more, several passes are made


class Runner:
    """Changes of crops by the network with an avatar's weights.

    Not safe for several threads. precision : float32, float16 or bfloat16. graphs : capture CUDA graphs.
    """

    def __init__(self, config: RefineConfig, device: torch.device, precision: torch.dtype, graphs: bool) -> None:
        self.device, self.precision = device, precision
        self._graphs: dict[tuple[int, int], tuple[Tensor, Tensor, Callable[[], None]]] | None = {} if graphs else None
        self._network = RefineNetwork(config).eval().requires_grad_(False)
        self._places: dict[str, slice] = {}
        end = 0
        for name, value in self._network.named_parameters():
            self._places[name] = slice(end, end + value.numel())
            end += -(-value.numel() // ALIGNMENT) * ALIGNMENT
        self._weights = torch.zeros(end, dtype=precision, device=device)
        for name, value in self._network.named_parameters():
            flat = self._weights[self._places[name]]
            if value.dim() == 4:  # channels last
                outside, inside, height, width = value.shape
                value.data = flat.view(outside, height, width, inside).permute(0, 3, 1, 2)
            else:
                value.data = flat
        self._pool: Any = None
        self._holds: Tensor | None = None

    def packed(self, state: Mapping[str, Tensor]) -> Tensor:
        """An avatar's weights as `run` takes them, on the device."""
        flat = torch.zeros(self._weights.shape, dtype=self.precision)
        for name, place in self._places.items():
            value = state[name].to(self.precision)
            flat[place] = (value.permute(0, 2, 3, 1) if value.dim() == 4 else value).reshape(-1)
        return flat.to(self.device)

    def run(self, weights: Tensor, crops: Tensor, alpha: Tensor) -> Tensor:
        """Packed weights, crops (N, 3, S, S) and coverage (N, 1, S, S) float32 -> changes (N, 3, S, S) float32."""
        if self._holds is not weights:
            self._weights.copy_(weights)
            self._holds = weights
        parts = zip(crops.split(MOST_AT_ONCE), alpha.split(MOST_AT_ONCE), strict=True)
        return torch.cat([self._run(torch.cat(part, 1)) for part in parts])

    @torch.inference_mode()
    def warm_up(self, side: int) -> None:
        """Capture what crops of this side will need, so that no live frame waits for it."""
        if self._graphs is not None:
            for count in (1, 2, 4, 8, 16):
                if (count, side) not in self._graphs:
                    self._graphs[count, side] = self._captured(count, side)

    def _run(self, x: Tensor) -> Tensor:
        count, side = len(x), x.shape[-1]
        key = 1 << (count - 1).bit_length(), side
        if self._graphs is None or key not in self._graphs:  # a size that nobody warmed up: live frames do not wait
            x = x.to(self.precision).contiguous(memory_format=torch.channels_last)
            return self._network(x).float()
        entry, out, replay = self._graphs[key]
        entry[:count].copy_(x)
        replay()
        return out[:count].float()

    def _captured(self, count: int, side: int) -> tuple[Tensor, Tensor, Callable[[], None]]:
        """(input, output, replay) of a graph for `count` crops of `side` pixels."""
        entry = torch.zeros(count, CHANNELS, side, side, dtype=self.precision, device=self.device)
        entry = entry.contiguous(memory_format=torch.channels_last)
        beside = torch.cuda.Stream(self.device)
        beside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(beside), torch.backends.cudnn.flags(enabled=True, benchmark=True):
            for _ in range(3):  # chooses kernels and allocates before it is recorded
                self._network(entry)
            beside.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=beside, capture_error_mode="thread_local"):
                out = self._network(entry)
        torch.cuda.current_stream(self.device).wait_stream(beside)
        self._pool = self._pool or graph.pool()
        return entry, out, graph.replay
