"""Spatial-audio attention (GaussianTalker): Gaussians attend to the condition tokens.

The cross-attention is folded so that a frame costs 16 dot products.

With tokens c_t, keys k_t = W_k c_t + b_k and values v_t = W_v c_t + b_v, a Gaussian's feature x meets the
weights of head h only in

    score_ht(x) = (W_q x + b_q)_h . k_ht / sqrt(d)  =  x . s_ht + r_ht,    s_ht = W_q,h^T k_ht / sqrt(d)
    output(x)   = W_o concat_h(sum_t a_ht v_ht) + b_o  =  sum_ht a_ht o_ht + b_o,    o_ht = W_o,h v_ht

so per frame there are T x H score vectors and as many output vectors, and neither queries nor concatenated values
of the N Gaussians are ever formed. This is exact, and its gradient is the unfolded one's. Per Gaussian and frame:
2 T H D multiply-adds (1.3k at T = 5, H = 2, D = 64) in place of 2 D^2 + 2 T D (8.8k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYER_NORM_EPS = 1e-12


@dataclass(frozen=True)
class FoldedTokens:
    """One layer's attention for B frames, with the projections folded in.

    Attributes
    ----------
    scores : (B, D, H, T) score vectors.
    score_bias : (B, H, T).
    outputs : (B, H, T, D) output vectors.
    output_bias : (D,).
    """

    scores: Tensor
    score_bias: Tensor
    outputs: Tensor
    output_bias: Tensor


class SpatialAudioAttention(nn.Module):
    """x -> LN(x + attention(x; tokens)), then -> LN(h + FFN(h)).

    Floor per Gaussian and frame (D = 64, F = 128, T = 5, H = 2): 2 T H D + 2 D F = 17.7k multiply-adds; bytes if
    everything between is kept in cache: 256 in, 256 out.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.norm_attention = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.norm_ffn = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.ffn_in = nn.Linear(width, hidden)
        self.ffn_out = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def fold(self, tokens: Tensor) -> FoldedTokens:
        """(B, T, D) tokens -> the layer's score and output vectors; O(T D^2) a frame, whatever N is."""
        width = tokens.shape[-1]
        depth = width // self.heads
        keys = self.key(tokens).unflatten(-1, (self.heads, depth)) / math.sqrt(depth)  # (B, T, H, d)
        values = self.value(tokens).unflatten(-1, (self.heads, depth))
        return FoldedTokens(
            scores=torch.einsum("hdi,bthd->biht", self.query.weight.unflatten(0, (self.heads, depth)), keys),
            score_bias=torch.einsum("hd,bthd->bht", self.query.bias.unflatten(0, (self.heads, depth)), keys),
            outputs=torch.einsum("ohd,bthd->bhto", self.output.weight.unflatten(1, (self.heads, depth)), values),
            output_bias=self.output.bias,
        )

    def forward(self, x: Tensor, tokens: Tensor, token_weight: Tensor) -> Tensor:
        """One layer for B frames over N Gaussians.

        Parameters
        ----------
        x : (N, D) features shared by all frames, or (B, N, D).
        tokens : (B, T, D).
        token_weight : (N, T) or (1, T), >= 0: what multiplies each token's attention before it is renormalised;
            0 makes a token invisible to a Gaussian, 1 everywhere is the published behaviour.

        Returns
        -------
        (B, N, D).
        """
        folded = self.fold(tokens)
        attention = attend(x, folded, token_weight)
        listened = attention.flatten(2).to(folded.outputs.dtype) @ folded.outputs.flatten(1, 2) + folded.output_bias
        h = self.norm_attention(x + self.dropout(listened))
        fed = self.ffn_out(self.dropout(torch.relu(self.ffn_in(h))))
        return self.norm_ffn(h + self.dropout(fed))


def attend(x: Tensor, folded: FoldedTokens, token_weight: Tensor) -> Tensor:
    """Attention of each Gaussian, (B, N, H, T) float32, summing to one over T; arguments as `SpatialAudioAttention`."""
    scores = x @ folded.scores.flatten(2)  # (N, D) or (B, N, D) times (B, D, HT)
    scores = scores.unflatten(-1, folded.scores.shape[2:]) + folded.score_bias[:, None]
    weighted = torch.softmax(scores.float(), dim=-1) * token_weight[None, :, None, :]
    return weighted / weighted.sum(dim=-1, keepdim=True).clamp_min(1e-20)


class ConditionMlp(nn.Module):
    """A condition's numbers to a token: two linear maps without bias around a ReLU, so that zero stays zero."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.into = nn.Linear(inputs, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, condition: Tensor) -> Tensor:
        """(B, inputs) -> (B, width)."""
        return self.out(torch.relu(self.into(condition)))


def position_code(value: Tensor, width: int = 32) -> Tensor:
    """Sinusoidal code of a scalar, (B, 1) -> (B, width).

    Even entries sin(v * div), odd ones cos(v * div), with div_j = 10000^(2 floor(j / 2) / width), as published: the
    scalar is multiplied by div, where transformers divide.
    """
    j = torch.arange(width // 2, device=value.device, dtype=value.dtype)
    angle = value * torch.pow(10000.0, 2 * j / width)
    return torch.stack([torch.sin(angle), torch.cos(angle)], dim=-1).flatten(-2)


def straight_through_relu(weight: Tensor) -> Tensor:
    """max(weight, 0) whose gradient passes as if it were the identity, so that a weight of zero can leave zero."""
    return weight + (F.relu(weight) - weight).detach()
