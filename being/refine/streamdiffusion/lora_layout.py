"""A LoRA of the attention's projections as one row of numbers, laid out for the packed network.

The network (`layers`) has the attention to the prompt multiplied out: its scores are x Wq K^T and its result is P V Wo.
With Wq + A B the scores change by (x A) (B K^T), which is of the same rank; with Wo + A B the result by (P V A) B. So
both factors of a change are made once a person. A change of the prompt's own keys and values would be of that rank a
head; as they are the same for every picture, what they could learn the query's and the output's changes can, and they
are left as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from being.refine.streamdiffusion.denoiser import Denoiser
from being.refine.streamdiffusion.layers import TransformerBlock
from being.refine.streamdiffusion.low_rank import AttentionChange, LowRank

SELF = ("attn1.to_q", "attn1.to_k", "attn1.to_v")
SELF_OUT, QUERY, OUT = "attn1.to_out.0", "attn2.to_q", "attn2.to_out.0"

Factors = Mapping[str, tuple[Tensor, Tensor]]
"""A (r, in) and B (out, r) by layer of the UNet: W + B A, as PEFT has it."""


@dataclass(frozen=True)
class _Part:
    """Where one factor lies in the row: from `start`, (inside, outside) numbers."""

    start: int
    inside: int
    outside: int

    @property
    def end(self) -> int:
        return self.start + self.inside * self.outside

    def of(self, rows: Tensor) -> Tensor:
        """(N, width) -> (N, inside, outside), a view."""
        return rows[:, self.start : self.end].unflatten(1, (self.inside, self.outside))


class LoraLayout:
    """Where the factors of all changes of a network lie in a row of `width` numbers.

    Parameters
    ----------
    denoiser : of the network as it is for everybody.
    rank : largest of a LoRA; those of less are filled up with zeros.

    Attributes
    ----------
    layers : (in, out) of each layer that may change, by name in the UNet.
    """

    def __init__(self, denoiser: Denoiser, rank: int) -> None:
        self.rank = rank
        self.width = 0
        self.layers: dict[str, tuple[int, int]] = {}
        self._blocks: list[tuple[str, TransformerBlock, tuple[_Part, ...]]] = []
        for name, block in denoiser.attentions:
            wide, channels = block.qkv.shape[0] // 3, block.qkv.shape[1]
            heads, padded, own = block.cross.key.shape
            self.layers |= {f"{name}.{layer}": (channels, wide) for layer in SELF}
            self.layers |= {f"{name}.{SELF_OUT}": (wide, len(block.own_out[0]))}
            self.layers |= {f"{name}.{QUERY}": (channels, heads * own)}
            self.layers |= {f"{name}.{OUT}": (heads * own, len(block.cross.result))}
            sizes = [(channels, 3 * rank), (3 * rank, 3 * wide), (wide, rank), (rank, len(block.own_out[0]))]
            sizes += [(channels, rank), (rank, heads * padded), (heads * padded, rank)]
            sizes += [(rank, len(block.cross.result))]
            self._blocks.append((name, block, tuple(self._part(*size) for size in sizes)))

    def _part(self, inside: int, outside: int) -> _Part:
        part = _Part(self.width, inside, outside)
        self.width = part.end
        return part

    def pack(self, factors: Factors) -> Tensor:
        """(width,) float32 of one person's LoRA; differentiable. Layers that are not in it do not change."""
        return torch.cat([self._packed(name, block, factors) for name, block, _ in self._blocks])

    def changes(self, rows: Tensor) -> list[AttentionChange]:
        """(N, width) of N pictures -> the changes of `Denoiser.attentions`; views."""
        found = []
        for _, _, parts in self._blocks:
            views = [part.of(rows) for part in parts]
            found.append(AttentionChange(*(LowRank(*views[at : at + 2]) for at in range(0, 8, 2))))
        return found

    def _packed(self, name: str, block: TransformerBlock, factors: Factors) -> Tensor:
        """One block's part of the row."""
        device = block.qkv.device

        def both(layer: str) -> tuple[Tensor, Tensor]:
            """A (rank, in) and B (out, rank)."""
            inside, outside = self.layers[f"{name}.{layer}"]
            found = factors.get(f"{name}.{layer}")
            if found is None:
                return torch.zeros(self.rank, inside, device=device), torch.zeros(outside, self.rank, device=device)
            down, up = (value.to(device, torch.float32) for value in found)
            more = self.rank - len(down)
            return F.pad(down, (0, 0, 0, more)), F.pad(up, (0, more))

        own = [both(layer) for layer in SELF]
        (out_down, out_up), (query_down, query_up), (down, up) = (both(layer) for layer in (SELF_OUT, QUERY, OUT))
        key, value = block.cross.key, block.cross.value
        heads = len(key)
        scores = torch.einsum("hpd,hdr->rhp", key, query_up.unflatten(0, (heads, -1)))
        result = torch.einsum("hpd,rhd->hpr", value, down.unflatten(1, (heads, -1)))
        parts = [torch.cat([part for part, _ in own]).t(), torch.block_diag(*(part.t() for _, part in own))]
        parts += [out_down.t(), out_up.t(), query_down.t(), scores, result, up.t()]
        return torch.cat([part.flatten() for part in parts])
