"""An avatar's network and Gaussians as two runs of numbers, so that one launch draws the frames of many avatars.

A kernel finds an avatar by how far its numbers stand from an anchor in the GPU's memory. Distances are counted in
steps of sixteen numbers: so a compiler knows that every part is aligned.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from being.model.attention import ConditionMlp, SpatialAudioAttention
from being.model.audio_net import AUDIO_CODE, convolutions
from being.model.gaussians import Gaussians
from being.model.network import CAMERA_CODE, EYE_CODE, GATED, OFFSET_SIZES, DeformationNetwork, NetworkConfig
from being.model.token_support import support_radius

STEP = 16  # numbers: every part begins at a multiple
COLUMNS = 16  # of a matrix product at least: attention scores, and the offsets that are not colours
COLOURS = 64  # the 48 colour coefficients, padded
MOST_WINDOWS = 16  # of audio in a frame
MOST_RECORDED = 512  # tokens that audio is clamped to
LEAN = ("xyz", "log_scales", "quats", "opacity_logits")  # eleven offsets side by side in one product
CONVOLUTIONS = ((32, 32), (32, 32), (32, 64), (64, 64))  # of an audio window; the first's input is the features' width
SCORES = 5  # convolutions that weigh the windows, their channels padded to COLUMNS


class NetworkShape(NamedTuple):
    """What of a network decides the kernels; avatars of one shape are drawn together."""

    audio_width: int
    windows: int
    width: int
    hidden: int
    heads: int
    tokens: tuple[str, ...]
    emotions: int
    support: bool

    @classmethod
    def of(cls, config: NetworkConfig) -> NetworkShape:
        emotions = max(1, len(config.emotion_states))
        shape = config.audio_width, config.audio_frames, config.width, config.head_width, config.heads
        return cls(*shape, tuple(config.tokens), emotions, config.token_support)

    def place(self, token: str) -> int:
        """Where the token stands among the others; -1 where the network has none."""
        return self.tokens.index(token) if token in self.tokens else -1


def fits(config: NetworkConfig) -> bool:
    """Whether the kernels run this network: one layer, powers of two, at most 16 pairs of head and token."""
    powers = all(size >= COLUMNS and size & (size - 1) == 0 for size in (config.width, config.head_width))
    small = config.heads * len(config.tokens) <= COLUMNS and config.audio_frames <= MOST_WINDOWS
    return config.layers == 1 and powers and small


def padded(number: int, to: int = STEP) -> int:
    """The next multiple."""
    return -(-number // to) * to


@lru_cache(maxsize=64)
def weight_places(shape: NetworkShape) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Where each part of an avatar's weights begins, and its size."""
    width, hidden = shape.width, shape.hidden
    parts: dict[str, tuple[int, ...]] = {"TOKEN_WEIGHTS": (2, COLUMNS), "RECORDED_COUNT": (2,)}
    first = padded(shape.audio_width, 32)
    for number, (into, out) in enumerate(CONVOLUTIONS):
        parts[f"CONV{number}"] = (3, first if number == 0 else into, out)
        parts[f"CONV{number}_BIAS"] = (out,)
    parts |= {"CODE0": (64, 64), "CODE0_BIAS": (64,), "CODE1": (64, AUDIO_CODE), "CODE1_BIAS": (AUDIO_CODE,)}
    parts |= {"SCORE0": (3, AUDIO_CODE, COLUMNS), "SCORES": (SCORES - 1, 3, COLUMNS, COLUMNS)}
    parts |= {"SCORE_BIAS": (SCORES, COLUMNS), "SHARES": (MOST_WINDOWS, MOST_WINDOWS), "SHARES_BIAS": (MOST_WINDOWS,)}
    inputs = {"AUDIO": AUDIO_CODE, "EYE": EYE_CODE, "CAMERA": padded(CAMERA_CODE), "EMOTION": 64}
    for name, size in inputs.items():
        parts |= {f"{name}_INTO": (size, width), f"{name}_OUT": (width, width)}
    parts |= {"NULL": (width,), "KEY": (width, width), "KEY_BIAS": (width,), "VALUE": (width, width)}
    parts |= {"VALUE_BIAS": (width,), "QUERY": (width, width), "QUERY_BIAS": (width,), "OUTPUT": (width, width)}
    parts |= {"OUTPUT_BIAS": (width,), "NORM1": (width,), "NORM1_BIAS": (width,), "FFN_IN": (width, hidden)}
    parts |= {"FFN_IN_BIAS": (hidden,), "FFN_OUT": (hidden, width), "FFN_OUT_BIAS": (width,)}
    parts |= {"NORM2": (width,), "NORM2_BIAS": (width,)}
    parts |= {"HEADS_IN": (5, width, hidden), "HEADS_IN_BIAS": (5, hidden), "LEAN": (4, hidden, COLUMNS)}
    parts |= {"LEAN_BIAS": (COLUMNS,), "COLOURS": (hidden, COLOURS), "COLOURS_BIAS": (COLOURS,)}
    if shape.support:
        parts["RECORDED"] = (MOST_RECORDED, width)
    places: dict[str, tuple[int, tuple[int, ...]]] = {}
    at = 0
    for name, sides in parts.items():
        places[name] = at, sides
        at += padded(prod(sides))
    places["END"] = at, ()
    return places


class PackedAvatar:
    """One avatar for the kernels.

    Attributes
    ----------
    weights : of `weight_places`; matrices as (in, out).
    gaussians : features, 48 colours, quaternion, centre, log scales, gate, opacity logit, head weight, `held` of each.
    count : of Gaussians. held : the next multiple of 16.
    """

    def __init__(self, network: DeformationNetwork, gaussians: Gaussians) -> None:
        if not fits(network.config):
            raise ValueError("the network has another shape than the kernels")
        self.shape = NetworkShape.of(network.config)
        self.count = gaussians.count
        self.held = padded(max(1, self.count))
        device = gaussians.xyz.device
        places = weight_places(self.shape)
        with torch.no_grad():
            run = torch.zeros(places["END"][0])
            for name, value in _weights(network).items():
                start, size = places[name]
                part = run[start : start + prod(size)].view(size)
                part[tuple(slice(side) for side in value.shape)] = value.detach().float().cpu()
            self.weights = run.to(device)
            parts = (
                network.canonical_features(gaussians.xyz), gaussians.sh, gaussians.quats, gaussians.xyz,
                gaussians.log_scales, gaussians.audio_gate, gaussians.opacity_logits, gaussians.head_weight,
            )  # fmt: skip
            self.gaussians = torch.cat([self._held(part) for part in parts])

    def steps_from(self, anchor: Tensor) -> tuple[int, int]:
        """How far weights and Gaussians stand from the anchor, in steps."""
        apart = [part.data_ptr() - anchor.data_ptr() for part in (self.weights, self.gaussians)]
        assert not any(bytes_ % (4 * STEP) for bytes_ in apart)
        return apart[0] // (4 * STEP), apart[1] // (4 * STEP)

    def _held(self, part: Tensor) -> Tensor:
        flat = part.detach().float().reshape(self.count, -1)
        return nn.functional.pad(flat, (0, 0, 0, self.held - self.count)).flatten()


def _weights(network: DeformationNetwork) -> dict[str, Tensor]:
    """Parts by name; what a network has not stays zero."""
    config = network.config
    parts: dict[str, Tensor] = {"NULL": network.null_token}
    gated = torch.tensor([float(name in GATED) for name in config.tokens])
    parts["TOKEN_WEIGHTS"] = torch.stack(
        [v.cpu().repeat(config.heads) for v in (network.token_weights(None)[0], gated)]
    )
    if "audio" in config.tokens:
        parts |= _audio_weights(network)
    for name in ("audio", "eye", "camera", "emotion"):
        if name in config.tokens:
            token = getattr(network, f"{name}_token")
            assert isinstance(token, ConditionMlp)
            parts |= {f"{name.upper()}_INTO": token.into.weight.T, f"{name.upper()}_OUT": token.out.weight.T}
    layer = network.layers[0]
    assert isinstance(layer, SpatialAudioAttention)
    root = (config.width // config.heads) ** 0.5
    parts |= {
        "KEY": layer.key.weight.T / root, "KEY_BIAS": layer.key.bias / root,
        "VALUE": layer.value.weight.T, "VALUE_BIAS": layer.value.bias,
        "QUERY": layer.query.weight, "QUERY_BIAS": layer.query.bias,
        "OUTPUT": layer.output.weight.T, "OUTPUT_BIAS": layer.output.bias,
        "NORM1": layer.norm_attention.weight, "NORM1_BIAS": layer.norm_attention.bias,
        "FFN_IN": layer.ffn_in.weight.T, "FFN_IN_BIAS": layer.ffn_in.bias,
        "FFN_OUT": layer.ffn_out.weight.T, "FFN_OUT_BIAS": layer.ffn_out.bias,
        "NORM2": layer.norm_ffn.weight, "NORM2_BIAS": layer.norm_ffn.bias,
    }  # fmt: skip
    return parts | _head_weights(network)


def _audio_weights(network: DeformationNetwork) -> dict[str, Tensor]:
    parts: dict[str, Tensor] = {}
    for number, layer in enumerate(convolutions(network.audio_net.convolutions)):
        parts[f"CONV{number}"] = layer.weight.permute(2, 1, 0)
        parts[f"CONV{number}_BIAS"] = _bias(layer)
    for number, linear in enumerate(_linears(network.audio_net.code)):
        parts |= {f"CODE{number}": linear.weight.T, f"CODE{number}_BIAS": linear.bias}
    first, *others = convolutions(network.audio_attention.scores)
    parts["SCORE0"] = first.weight.permute(2, 1, 0)
    scores = torch.zeros(SCORES - 1, 3, COLUMNS, COLUMNS)
    bias = torch.zeros(SCORES, COLUMNS)
    bias[0, : first.out_channels] = _bias(first).cpu()
    for number, layer in enumerate(others):
        scores[number, :, : layer.in_channels, : layer.out_channels] = layer.weight.permute(2, 1, 0).cpu()
        bias[number + 1, : layer.out_channels] = _bias(layer).cpu()
    shares = network.audio_attention.weights
    parts |= {"SCORES": scores, "SCORE_BIAS": bias, "SHARES": shares.weight.T, "SHARES_BIAS": shares.bias}
    if network.config.token_support:
        recorded = network.recorded_tokens[:, network.config.tokens.index("audio")].detach().float().cpu()
        radius = support_radius(recorded.numpy())
        if len(recorded) <= MOST_RECORDED and radius < float("inf"):
            parts |= {"RECORDED": recorded, "RECORDED_COUNT": torch.tensor([float(len(recorded)), radius])}
    return parts


def _head_weights(network: DeformationNetwork) -> dict[str, Tensor]:
    """First maps of the five heads, second ones of the lean four side by side, that of the colours."""
    hidden = network.config.head_width
    into, into_bias, lean, lean_bias, at = [], [], [], torch.zeros(COLUMNS), 0
    for name in LEAN:
        first, second = _linears(network.heads[name])
        size = OFFSET_SIZES[name]
        beside = torch.zeros(hidden, COLUMNS)
        beside[:, at : at + size] = second.weight.T.cpu()
        lean_bias[at : at + size] = second.bias.cpu()
        into.append(first.weight.T)
        into_bias.append(first.bias)
        lean.append(beside)
        at += size
    first, second = _linears(network.heads["sh"])
    return {
        "HEADS_IN": torch.stack([*into, first.weight.T]), "HEADS_IN_BIAS": torch.stack([*into_bias, first.bias]),
        "LEAN": torch.stack(lean), "LEAN_BIAS": lean_bias, "COLOURS": second.weight.T, "COLOURS_BIAS": second.bias,
    }  # fmt: skip


def _linears(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.children() if isinstance(layer, nn.Linear)]


def _bias(layer: nn.Conv1d) -> Tensor:
    return torch.zeros(layer.out_channels) if layer.bias is None else layer.bias
