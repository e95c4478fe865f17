"""The deformation network: how every Gaussian moves for one frame, given the sound, the eyes and the camera.

After GaussianTalker (Cho et al., ACM MM 2024): a Gaussian's place is a triplane feature, conditions are tokens, the
feature attends to the tokens by cross-attention, five heads read the offsets off the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from being.errors import InputError
from being.model.attention import ConditionMlp, SpatialAudioAttention, position_code, straight_through_relu
from being.model.audio_net import AUDIO_CODE, AudioAttention, AudioNet
from being.model.gaussians import SH_COEFFICIENTS
from being.model.token_support import clamp_to_support, support_radius
from being.model.triplane import AttributeTrunk, Triplane

EYE_CODE = 32
CAMERA_CODE = 12
OFFSET_SIZES = {"xyz": 3, "log_scales": 3, "quats": 4, "opacity_logits": 1, "sh": 3 * SH_COEFFICIENTS}

GATED = ("audio", "emotion")  # tokens that may move the face alone: their attention is multiplied by the gate

TokenName = Literal["audio", "eye", "camera", "null", "emotion"]
Point = tuple[float, float, float]


class NetworkConfig(BaseModel):
    """Everything that decides the shapes of a network; stored in avatar.json.

    `aabb` is the box the triplane covers, maximum corner first (head space, 10 cm). `dropout` acts in training only.
    `token_support`: audio tokens are clamped to the training distribution (`being.model.token_support`); published
    avatars do without.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    audio_width: Annotated[int, Field(ge=1, le=1024)]
    audio_window: Literal[16] = 16
    audio_frames: Annotated[int, Field(ge=1, le=64)] = 8
    plane_resolutions: tuple[Annotated[int, Field(ge=2, le=1024)], ...] = (64, 128)
    plane_channels: Annotated[int, Field(ge=1, le=256)] = 32
    width: Annotated[int, Field(ge=8, le=512)] = 64
    heads: Annotated[int, Field(ge=1, le=16)] = 2
    layers: Annotated[int, Field(ge=1, le=4)] = 1
    head_width: Annotated[int, Field(ge=8, le=1024)] = 128
    tokens: tuple[TokenName, ...] = ("audio", "eye", "camera", "null", "emotion")
    emotion_states: tuple[str, ...] = ()
    aabb: tuple[Point, Point] = ((2.0, 2.0, 2.0), (-2.0, -2.0, -2.0))
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    token_support: bool = False

    @model_validator(mode="before")
    @classmethod
    def _present_names(cls, values: Any) -> Any:
        if isinstance(values, dict) and "keep_to_heard" in values:  # its name in avatars of earlier versions
            values = {"token_support" if name == "keep_to_heard" else name: value for name, value in values.items()}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> NetworkConfig:
        if not 1 <= len(self.plane_resolutions) <= 8:
            raise ValueError("plane_resolutions: expected 1 to 8 levels")
        if len(self.plane_resolutions) * self.plane_channels != self.width:
            raise ValueError(
                f"width {self.width} must be levels x plane_channels = "
                f"{len(self.plane_resolutions)} x {self.plane_channels}"
            )
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        if len(set(self.tokens)) != len(self.tokens) or "null" not in self.tokens:
            raise ValueError("tokens: each at most once, and null among them (Gaussians without audio attend to it)")
        if any(high <= low for high, low in zip(*self.aabb, strict=True)):
            raise ValueError("aabb: the first corner must be the maximum on every axis")
        if len(self.emotion_states) > 64:
            raise ValueError("emotion_states: more than 64")
        return self


@dataclass(frozen=True)
class Conditions:
    """What B frames depend on.

    Attributes
    ----------
    audio : (B, 8, 16, D) speech features: 8 windows of 16 steps.
    eye : (B, 1) closing of the lids, 0 open to 1 shut.
    camera : (B, 12) from `camera_code`.
    emotion : (B, E) weights of the emotion states, or None for neutral.
    """

    audio: Tensor
    eye: Tensor
    camera: Tensor
    emotion: Tensor | None = None


@dataclass(frozen=True)
class Offsets:
    """What is added to the canonical attributes before activation, for B frames of N Gaussians.

    xyz (B, N, 3), log_scales (B, N, 3), quats (B, N, 4), opacity_logits (B, N), sh (B, N, 16, 3).
    """

    xyz: Tensor
    log_scales: Tensor
    quats: Tensor
    opacity_logits: Tensor
    sh: Tensor


class DeformationNetwork(nn.Module):
    """Offsets of N Gaussians for B frames.

    Floor of `offsets` per Gaussian and frame, published sizes: attention 1.3k + FFN 16.4k + heads 5 x 8.2k + 7.6k =
    66k multiply-adds; 256 bytes of features read (once for all B) and 236 bytes of offsets written, so it is bound by
    arithmetic everywhere (10k Gaussians: 1.3 GFLOP a frame). In training autograd keeps about 4.5 KB a Gaussian and
    frame in float32 (3 GB at B = 32, N = 20k); `recompute=True` keeps the layer's input and output only.

    Attributes
    ----------
    recorded_tokens : (S, T, width) tokens of S recorded frames, () until training stores them with `record`. The
        cheaper forms of `being.model.approx` are rebuilt from them, so an avatar needs nothing beside its network.
    """

    recorded_tokens: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.triplane = Triplane(config.plane_resolutions, config.plane_channels, config.aabb)
        # Published checkpoints hold it, for the coarse stage of their training; nothing here runs it.
        self.trunk = AttributeTrunk(width, config.head_width)
        null = torch.empty(width)
        if not null.is_meta:  # where sizes are checked, `normal_` would import half of PyTorch's compiler: seconds
            null.normal_()
        self.null_token = nn.Parameter(null)
        if "audio" in config.tokens:
            self.audio_net = AudioNet(config.audio_width)
            self.audio_attention = AudioAttention(config.audio_frames)
            self.audio_token = ConditionMlp(AUDIO_CODE, width)
        if "eye" in config.tokens:
            self.eye_token = ConditionMlp(EYE_CODE, width)
        if "camera" in config.tokens:
            self.camera_token = ConditionMlp(CAMERA_CODE, width)
        if "emotion" in config.tokens:
            self.emotion_token = ConditionMlp(max(1, len(config.emotion_states)), width)
            # Multiplies the token's attention: at zero the token is invisible, yet the weight has a gradient.
            self.emotion_weight = nn.Parameter(torch.zeros(()), requires_grad=bool(config.emotion_states))
        self.layers = nn.ModuleList(
            SpatialAudioAttention(width, config.heads, config.head_width, config.dropout) for _ in range(config.layers)
        )
        self.heads = nn.ModuleDict(
            {name: _offset_head(width, config.head_width, size) for name, size in OFFSET_SIZES.items()}
        )
        self._radius: tuple[Tensor, float] | None = None  # of which tokens, and how far it is
        self.register_buffer("recorded_tokens", torch.zeros(0, len(config.tokens), width))

    def condition_tokens(self, conditions: Conditions) -> Tensor:
        """(B, T, width) tokens in the order of `config.tokens`; 0.2M multiply-adds a frame, whatever N is.

        Raises
        ------
        InputError
            Conditions of a wrong shape.
        """
        self._check(conditions)
        batch = conditions.eye.shape[0]
        tokens: list[Tensor] = []
        for name in self.config.tokens:
            if name == "audio":
                codes = self.audio_net(conditions.audio.flatten(0, 1)).unflatten(0, (batch, -1))
                tokens.append(self._supported(self.audio_token(self.audio_attention(codes)), len(tokens)))
            elif name == "eye":
                tokens.append(self.eye_token(position_code(conditions.eye, EYE_CODE)))
            elif name == "camera":
                tokens.append(self.camera_token(conditions.camera))
            elif name == "emotion":
                emotion = conditions.emotion
                if emotion is None:
                    emotion = conditions.eye.new_zeros(batch, max(1, len(self.config.emotion_states)))
                tokens.append(self.emotion_token(emotion))
            else:
                tokens.append(self.null_token.expand(batch, -1))
        return torch.stack([token.to(tokens[0].dtype) for token in tokens], dim=1)

    def canonical_features(self, xyz: Tensor) -> Tensor:
        """(N, 3) -> (N, width); compute once per avatar at inference, once per step in training."""
        return self.triplane(xyz)

    def token_weights(self, audio_gate: Tensor | None, device: torch.device | str | None = None) -> Tensor:
        """(N, T), or (1, T) without gates: what multiplies each token's attention (see `SpatialAudioAttention`)."""
        one = torch.ones(1, device=device or self.null_token.device)
        columns = []
        for name in self.config.tokens:
            weight = straight_through_relu(self.emotion_weight.float()).expand(1) if name == "emotion" else one
            columns.append(weight * audio_gate.float() if name in GATED and audio_gate is not None else weight)
        rows = max(column.shape[0] for column in columns)
        return torch.stack([column.expand(rows) for column in columns], dim=1)

    def hidden(self, features: Tensor, tokens: Tensor, audio_gate: Tensor | None = None) -> Tensor:
        """(B, N, width) what the Gaussians are after listening; the heads read it. Arguments as `offsets`."""
        weight = self.token_weights(audio_gate, tokens.device)
        x = features
        for layer in self.layers:
            x = layer(x, tokens, weight)
        return x

    def offsets(
        self, features: Tensor, tokens: Tensor, audio_gate: Tensor | None = None, *, recompute: bool = False
    ) -> Offsets:
        """Offsets of N Gaussians for B frames, float32 also under autocast.

        Parameters
        ----------
        features : (N, width) from `canonical_features`.
        tokens : (B, T, width) from `condition_tokens`.
        audio_gate : (N,) in [0, 1], or None for 1 everywhere.
        recompute : run the network again in backward instead of keeping its activations.
        """
        if recompute and torch.is_grad_enabled():
            raw = checkpoint(self._raw_offsets, features, tokens, audio_gate, use_reentrant=False)
        else:
            raw = self._raw_offsets(features, tokens, audio_gate)
        xyz, log_scales, quats, opacity_logits, sh = (part.float() for part in raw)
        return Offsets(xyz, log_scales, quats, opacity_logits.squeeze(-1), sh.unflatten(-1, (SH_COEFFICIENTS, 3)))

    def forward(self, xyz: Tensor, conditions: Conditions, audio_gate: Tensor | None = None) -> Offsets:
        """`offsets` of canonical positions (N, 3) under the conditions of B frames."""
        return self.offsets(self.canonical_features(xyz), self.condition_tokens(conditions), audio_gate)

    def record(self, tokens: Tensor, most: int = 512) -> None:
        """Keep up to `most` of the tokens (S, T, width), evenly spaced, as `recorded_tokens`."""
        if tokens.ndim != 3 or tokens.shape[1:] != self.recorded_tokens.shape[1:]:
            raise InputError(f"recorded tokens have shape {tuple(tokens.shape)}, expected (S, T, width)")
        keep = torch.linspace(0, len(tokens) - 1, min(most, len(tokens))).round().long()
        self.recorded_tokens = tokens.detach()[keep.to(tokens.device)].float().to(self.null_token.device).clone()

    def _raw_offsets(self, features: Tensor, tokens: Tensor, audio_gate: Tensor | None) -> tuple[Tensor, ...]:
        hidden = self.hidden(features, tokens, audio_gate)
        return tuple(self.heads[name](hidden) for name in OFFSET_SIZES)

    def _supported(self, tokens: Tensor, place: int) -> Tensor:
        """Audio tokens (B, width), clamped to the recorded ones where `token_support` is set and there are any."""
        if not self.config.token_support or not len(self.recorded_tokens):
            return tokens
        recorded = self.recorded_tokens[:, place]
        if self._radius is None or self._radius[0] is not self.recorded_tokens:
            self._radius = self.recorded_tokens, support_radius(recorded.detach().float().cpu().numpy())
        return clamp_to_support(tokens, recorded.to(tokens.dtype), self._radius[1])

    def _check(self, conditions: Conditions) -> None:
        config = self.config
        batch = conditions.eye.shape[0] if conditions.eye.ndim else 0
        expected = {
            "audio": (batch, config.audio_frames, config.audio_window, config.audio_width),
            "eye": (batch, 1),
            "camera": (batch, CAMERA_CODE),
            "emotion": (batch, len(config.emotion_states)),
        }
        for name, shape in expected.items():
            value = getattr(conditions, name)
            if value is not None and tuple(value.shape) != shape:
                raise InputError(f"condition {name} has shape {tuple(value.shape)}, expected {shape}")
        if conditions.emotion is not None and not config.emotion_states:
            raise InputError("condition emotion is given, but this avatar has no emotion states")


def _offset_head(width: int, hidden: int, size: int) -> nn.Sequential:
    last = nn.Linear(hidden, size)
    with torch.no_grad():  # a new network starts almost at rest, it does not scatter the face
        last.weight.mul_(0.01)
        last.bias.zero_()
    return nn.Sequential(nn.ReLU(), nn.Linear(width, hidden), nn.ReLU(), last)


def camera_code(head_pose: Tensor) -> Tensor:
    """(B, 3, 4) head poses [R|t], canonical -> OpenCV camera, to (B, 12): R transposed (row-major), then t.

    This is the published code R', T' of the head's tracked pose, since R = diag(1,-1,-1) R_track gives
    -(diag(-1,1,1) R_track)^T = R^T.
    """
    return torch.cat([head_pose[:, :, :3].transpose(1, 2).flatten(1), head_pose[:, :, 3]], dim=1)
