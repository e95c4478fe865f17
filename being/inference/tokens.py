"""Condition tokens in numpy: what `DeformationNetwork.condition_tokens` computes, without its 80 small PyTorch calls.

A frame needs 0.2M multiply-adds, so PyTorch's 3 ms for a single live frame are overhead, and they stand before
everything else. As a few matrix products it is a tenth of that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from being.inference.frames import Drive
from being.model.audio_net import convolutions
from being.model.network import EYE_CODE, DeformationNetwork
from being.model.token_support import clamp_to_support_numpy, support_radius

FloatArray = npt.NDArray[np.float32]


class TokenEncoder:
    """The condition tokens of one network; its weights are read once."""

    def __init__(self, network: DeformationNetwork) -> None:
        self.config = network.config
        self._width = self.config.width
        if "audio" in self.config.tokens:
            self._window_convolutions = [_Convolution(layer) for layer in convolutions(network.audio_net.convolutions)]
            self._code = [_linear(layer) for layer in network.audio_net.code if isinstance(layer, nn.Linear)]
            self._score_convolutions = [_Convolution(layer) for layer in convolutions(network.audio_attention.scores)]
            self._weights = _linear(network.audio_attention.weights)
            self._slope = np.float32(_slope(network.audio_net.convolutions))
            self._audio = _pair(network.audio_token)
            place = self.config.tokens.index("audio")
            self._recorded = np.ascontiguousarray(_numpy(network.recorded_tokens)[:, place])
            self._radius = support_radius(self._recorded) if self.config.token_support else float("inf")
        if "eye" in self.config.tokens:
            self._eye = _pair(network.eye_token)
            # As `position_code` rounds them: the fastest waves multiply the closure by thousands.
            halves = torch.arange(EYE_CODE // 2, dtype=torch.float32)
            self._waves = _numpy(torch.pow(10000.0, 2 * halves / EYE_CODE))
        if "camera" in self.config.tokens:
            self._camera = _pair(network.camera_token)
        if "emotion" in self.config.tokens:
            self._emotion = _pair(network.emotion_token)
        self._null = _numpy(network.null_token)

    def __call__(self, drives: Sequence[Drive]) -> FloatArray:
        """(B, T, width) tokens of B frames, in the order of the network's tokens."""
        tokens = np.empty((len(drives), len(self.config.tokens), self._width), np.float32)
        for index, name in enumerate(self.config.tokens):
            tokens[:, index] = getattr(self, f"_{name}_token")(drives)
        return tokens

    def _audio_token(self, drives: Sequence[Drive]) -> FloatArray:
        contexts = np.stack([drive.context for drive in drives]).astype(np.float32, copy=False)
        batch, frames = contexts.shape[:2]
        x = contexts.reshape(batch * frames, *contexts.shape[2:])
        for convolution in self._window_convolutions:
            x = self._leaky(convolution(x))
        (weight, bias), (last_weight, last_bias) = self._code
        codes = self._leaky(x[:, 0] @ weight + bias) @ last_weight + last_bias
        codes = codes.reshape(batch, frames, -1)
        scores = codes
        for convolution in self._score_convolutions:
            scores = self._leaky(convolution(scores))
        weight, bias = self._weights
        logits = scores[:, :, 0] @ weight + bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        tokens = _token(self._audio, np.einsum("bf,bfc->bc", shares, codes))
        return tokens if np.isinf(self._radius) else clamp_to_support_numpy(tokens, self._recorded, self._radius)

    def _eye_token(self, drives: Sequence[Drive]) -> FloatArray:
        angle = np.array([[drive.eye] for drive in drives], np.float32) * self._waves
        code = np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(len(drives), EYE_CODE)
        return _token(self._eye, code)

    def _camera_token(self, drives: Sequence[Drive]) -> FloatArray:
        poses = np.stack([drive.head_pose for drive in drives]).astype(np.float32, copy=False)
        turned = poses[:, :, :3].transpose(0, 2, 1).reshape(len(drives), 9)
        return _token(self._camera, np.concatenate([turned, poses[:, :, 3]], axis=1))

    def _emotion_token(self, drives: Sequence[Drive]) -> FloatArray:
        neutral = np.zeros(max(1, len(self.config.emotion_states)), np.float32)
        states = [neutral if drive.emotion is None else drive.emotion for drive in drives]
        return _token(self._emotion, np.stack(states).astype(np.float32, copy=False))

    def _null_token(self, drives: Sequence[Drive]) -> FloatArray:
        return self._null

    def _leaky(self, x: FloatArray) -> FloatArray:
        return np.maximum(x, self._slope * x)


class _Convolution:
    """A Conv1d of width 3 and padding 1 over time-major sequences, as one matrix product."""

    def __init__(self, layer: nn.Conv1d) -> None:
        self._stride = layer.stride[0]
        self._weight = np.ascontiguousarray(_numpy(layer.weight).transpose(2, 1, 0).reshape(-1, layer.out_channels))
        self._bias = _numpy(layer.bias) if layer.bias is not None else np.zeros(layer.out_channels, np.float32)

    def __call__(self, x: FloatArray) -> FloatArray:
        """(M, L, in) -> (M, L / stride, out)."""
        count, length, width = x.shape
        padded = np.zeros((count, length + 2, width), np.float32)
        padded[:, 1:-1] = x
        steps = (length - 1) // self._stride + 1
        reached = np.stack(
            [padded[:, k : k + self._stride * steps : self._stride][:, :steps] for k in range(3)], axis=2
        )
        flat = reached.reshape(count * steps, 3 * width) @ self._weight + self._bias
        return flat.reshape(count, steps, -1)


def _slope(module: nn.Module) -> float:
    return next(layer.negative_slope for layer in module.children() if isinstance(layer, nn.LeakyReLU))


def _linear(layer: nn.Linear) -> tuple[FloatArray, FloatArray]:
    return np.ascontiguousarray(_numpy(layer.weight).T), _numpy(layer.bias)


def _pair(module: nn.Module) -> tuple[FloatArray, FloatArray]:
    """The two weights of a `ConditionMlp`, transposed."""
    into, out = (layer for layer in module.children() if isinstance(layer, nn.Linear))
    return np.ascontiguousarray(_numpy(into.weight).T), np.ascontiguousarray(_numpy(out.weight).T)


def _token(pair: tuple[FloatArray, FloatArray], condition: FloatArray) -> FloatArray:
    return np.maximum(condition @ pair[0], 0) @ pair[1]


def _numpy(tensor: Tensor) -> FloatArray:
    return tensor.detach().float().cpu().numpy().copy()
