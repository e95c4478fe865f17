"""One network on a device for all avatars of one architecture: weights are swapped in, CUDA graphs are shared.

All weights lie in one buffer, and the references beside it, so that swapping an avatar in is a few copies on the device
(6 MB of weights, up to 64 MB of references), and a graph captured once for a size of crops serves everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from being.refine.native.network import CHANNELS, RefineConfig, RefineNetwork
from being.refine.native.operations import operations
from being.refine.native.references import ZERO, View, mixed

ROWS = 8  # references are filled up to a multiple of on a GPU: matrix products of other depths are slow
ALIGNMENT = 64  # numbers; kernels read weights in blocks of 128 bytes
MOST_AT_ONCE = 16  # crops; of more, several passes are made


@dataclass(frozen=True, eq=False)
class Packed:
    """An avatar's network on the device: weights in one row, the kernel of its gain, references cell by cell, as bytes,
    and their buffers by name."""

    weights: Tensor
    gain: Tensor | None = None
    cells: Tensor | None = None
    buffers: Mapping[str, Tensor] | None = None


class Runner:
    """Changes of crops by the network with an avatar's weights.

    Not safe for several threads. precision : float32, float16 or bfloat16. graphs : capture CUDA graphs.
    """

    def __init__(self, config: RefineConfig, device: torch.device, precision: torch.dtype, graphs: bool) -> None:
        self.config, self.device, self.precision = config, device, precision
        self._graphs: dict[tuple[int, int], tuple[tuple[Tensor, ...], Tensor, Callable[[], None]]] | None = (
            {} if graphs else None
        )
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
        if self._network.gain is not None:
            self._network.gain = self._network.gain.to(device, precision)
        self._cells: Tensor | None = None
        if self._network.references is not None:
            self._network.references.to(device)
            self._cells = self._network.references.cells(precision)
            if device.type == "cuda":
                self._cells = F.pad(self._cells, (0, 0, 0, -config.references % ROWS))
        self._operations = operations(device)
        self._pool: Any = None
        self._holds: Packed | None = None

    def packed(self, state: Mapping[str, Tensor]) -> Packed:
        """An avatar's weights and references as `run` takes them, on the device."""
        flat = torch.zeros(self._weights.shape, dtype=self.precision)
        for name, place in self._places.items():
            value = state[name].to(self.precision)
            flat[place] = (value.permute(0, 2, 3, 1) if value.dim() == 4 else value).reshape(-1)
        gain = state["gain"].to(self.device, self.precision) if self.config.gain else None
        if self._network.references is None:
            return Packed(flat.to(self.device), gain)
        own = RefineNetwork(self.config)
        own.load_state_dict(dict(state))
        assert own.references is not None
        references = own.references.to(self.device)
        buffers = {name: value for name, value in references.named_buffers() if name != "differences"}
        return Packed(flat.to(self.device), gain, references.byte_cells(), buffers)

    def run(self, packed: Packed, crops: Tensor, alpha: Tensor, view: View | None = None) -> Tensor:
        """Crops (N, 3, S, S) and coverage (N, 1, S, S) float32 -> changes (N, 3, S, S) float32; view where the network
        has references."""
        if self._holds is not packed:
            self._swap_in(packed)
        entries = [torch.cat([crops, alpha], 1)]
        if self._network.references is not None:
            assert view is not None
            entries += [view.depth, view.cameras, view.poses]
        parts = zip(*(entry.split(MOST_AT_ONCE) for entry in entries), strict=True)
        return torch.cat([self._run(*part) for part in parts])

    def _swap_in(self, packed: Packed) -> None:
        self._weights.copy_(packed.weights)
        if self._network.gain is not None:
            assert packed.gain is not None
            self._network.gain.copy_(packed.gain)
        if self._network.references is not None:
            assert self._cells is not None and packed.cells is not None and packed.buffers is not None
            self._cells[:, : self.config.references].copy_(packed.cells).sub_(ZERO).div_(255)
            for name, value in packed.buffers.items():
                self._network.references.get_buffer(name).copy_(value)
        self._holds = packed

    @torch.inference_mode()
    def warm_up(self, side: int) -> None:
        """Capture what crops of this side will need, so that no live frame waits for it."""
        if self._graphs is not None:
            for count in (1, 2, 4, 8, 16):
                if (count, side) not in self._graphs:
                    self._graphs[count, side] = self._captured(count, side)

    def _run(self, x: Tensor, *place: Tensor) -> Tensor:
        count, side = len(x), x.shape[-1]
        key = 1 << (count - 1).bit_length(), side
        if self._graphs is None or key not in self._graphs:  # a size that nobody warmed up: live frames do not wait
            return self._change(x, *place).float()
        entries, out, replay = self._graphs[key]
        for entry, value in zip(entries, (x, *place), strict=True):
            entry[:count].copy_(value)
        replay()
        return out[:count].float()

    def _change(self, x: Tensor, *place: Tensor) -> Tensor:
        """x (N, 4, S, S) float32; with references also depth, cameras and poses, see `View`."""
        references = self._network.references
        if references is None:
            return self._network(x.to(self.precision).contiguous(memory_format=torch.channels_last))
        assert self._cells is not None
        view = View(*place)
        weights, unlike = references.weights(self._operations.thumbnails(references, x, view))
        texture = mixed(self._cells, weights.to(self._cells.dtype))
        guide = self._operations.laid(references, texture, unlike if self.config.width else None, view)
        if not self.config.width:
            gain = self._network.gain
            return guide if gain is None else self._operations.sharpened(x, guide, gain)
        both = torch.cat([x, guide], 1).to(self.precision)
        return self._network(both.contiguous(memory_format=torch.channels_last))

    def _captured(self, count: int, side: int) -> tuple[tuple[Tensor, ...], Tensor, Callable[[], None]]:
        """(inputs, output, replay) of a graph for `count` crops of `side` pixels."""
        entries = [torch.zeros(count, CHANNELS, side, side, device=self.device)]
        if self._network.references is None:
            entries[0] = entries[0].to(self.precision).contiguous(memory_format=torch.channels_last)
        else:
            shapes = (1, side, side), (4,), (3, 4)
            entries += [torch.zeros(count, *shape, device=self.device) for shape in shapes]
        beside = torch.cuda.Stream(self.device)
        beside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(beside), torch.backends.cudnn.flags(enabled=True, benchmark=True):
            for _ in range(3):  # chooses kernels and allocates before it is recorded
                self._change(*entries)
            beside.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=beside, capture_error_mode="thread_local"):
                out = self._change(*entries)
        torch.cuda.current_stream(self.device).wait_stream(beside)
        self._pool = self._pool or graph.pool()
        return tuple(entries), out, graph.replay
