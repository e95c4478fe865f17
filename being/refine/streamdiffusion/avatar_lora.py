"""An avatar's own LoRA as one file in its folder; what it was trained for stands in its header.

Tensors are named as diffusers and PEFT name them, so that other programs load it too. It belongs to one base model:
weights are told apart by a fingerprint that is the same in single and in half precision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from being.atomic import whole_file
from being.avatar.content import sha256_of
from being.errors import FormatError, InputError
from being.model.weights import check_finite
from being.refine.streamdiffusion.loading import Weights
from being.refine.streamdiffusion.lora import read_lora
from being.refine.streamdiffusion.lora_layout import LoraLayout
from being.refine.streamdiffusion.settings import StreamDiffusionSettings

FILE = "lora.safetensors"
_HEADER = "being.lora"
_AGAIN = "Train it again: being fit-refiner --refiner streamdiffusion"


class LoraBase(BaseModel):
    """What a LoRA was trained for.

    model : its name then, for people. unet : fingerprint, and the LoRAs for everybody that it was trained on top of.
    autoencoder, controlnet : fingerprints; "" for none. prompt, timesteps : of the settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    unet: str
    autoencoder: str
    controlnet: str = ""
    prompt: str
    timesteps: tuple[int, ...]


class LoraFacts(BaseModel):
    """What the header of the file says.

    strength : how much of the refined picture counts at a session's strength of 1; below 1 where more would have moved
    the lips. gaussians : SHA-256 of the avatar's gaussians.ply, whose renders it was trained on. metrics : on held-out
    frames.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["streamdiffusion"] = "streamdiffusion"
    version: Literal[1] = 1
    rank: int = Field(ge=1)
    strength: float = Field(default=1.0, ge=0, le=1)
    base: LoraBase
    gaussians: str = ""
    metrics: dict[str, float] = {}


@dataclass(frozen=True, eq=False)
class AvatarLora:
    """Facts, and A (r, in) and B (out, r) in float32 by layer of the UNet, on the CPU."""

    facts: LoraFacts
    factors: Mapping[str, tuple[Tensor, Tensor]]


def base_of(weights: Weights, settings: StreamDiffusionSettings) -> LoraBase:
    """What a LoRA that is trained for these weights and settings belongs to."""
    unet = weights.fingerprints["unet"]
    for lora in settings.loras:
        unet = hashlib.sha256(f"{unet} {sha256_of(Path(lora.file))} {lora.scale}".encode()).hexdigest()
    others = {part: weights.fingerprints.get(part, "") for part in ("autoencoder", "controlnet")}
    return LoraBase(model=settings.model, unet=unet, prompt=settings.prompt, timesteps=settings.timesteps, **others)


def check_base(facts: LoraFacts, base: LoraBase, where: object) -> None:
    """InputError where a LoRA was trained for another model than `base`; `where` names it."""
    parts = [part for part in ("unet", "autoencoder", "controlnet") if getattr(facts.base, part) != getattr(base, part)]
    if parts:
        raise InputError(
            f"{where} was trained for another {' and '.join(parts)} (beside {facts.base.model!r}; here {base.model!r})",
            f"{_AGAIN}, with the options that are given here; or refine with those it was trained with",
        )


def save_avatar_lora(path: Path, lora: AvatarLora) -> None:
    """Write the file whole or not at all."""
    tensors = {}
    for layer, (down, up) in lora.factors.items():
        for name, value in (("lora_A", down), ("lora_B", up)):
            tensors[f"unet.{layer}.{name}.weight"] = value.detach().float().cpu().contiguous().clone()
    with whole_file(path) as partial:
        save_file(tensors, partial, {"format": "pt", _HEADER: lora.facts.model_dump_json()})


def load_avatar_lora(path: Path) -> AvatarLora:
    """Read it.

    Raises
    ------
    FormatError
        No safetensors file, no LoRA of an avatar, or numbers that are not finite.
    """
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: not a readable safetensors file ({error})", _AGAIN) from error
    if header is None:
        raise FormatError(f"{path}: its header does not say what it was trained for", _AGAIN)
    try:
        facts = LoraFacts.model_validate(json.loads(header))
    except ValidationError as error:
        first = error.errors()[0]
        raise FormatError(f"{path}: header: {'.'.join(map(str, first['loc']))}: {first['msg']}", _AGAIN) from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: header: {error}", _AGAIN) from None
    factors = {}
    for layer, (down, up, alpha) in read_lora(path).items():
        try:
            for value in (down, up):
                check_finite(layer, value)
        except FormatError as error:
            raise FormatError(f"{path}: {error.problem}", _AGAIN) from None
        scale = 1.0 if alpha is None else alpha / len(down)
        factors[layer] = down.float(), scale * up.float()
    return AvatarLora(facts, factors)


def pack_checked(lora: AvatarLora, layout: LoraLayout, where: object, dtype: torch.dtype = torch.float32) -> Tensor:
    """`LoraLayout.pack` of a file's factors, in a number format, in host memory.

    Raises
    ------
    FormatError
        A layer that the network has not or that may not change, another shape, or numbers too large for the format.
    InputError
        A rank above the layout's.
    """
    for layer, (down, up) in lora.factors.items():
        sizes = layout.layers.get(layer)
        if sizes is None:
            raise FormatError(f"{where}: {layer!r} is no projection of the attention that may change", _AGAIN)
        if down.dim() != 2 or (down.shape[1], up.shape[0]) != sizes or down.shape[0] != up.shape[1]:
            raise FormatError(f"{where}: {layer!r} does not fit {sizes[1], sizes[0]}", _AGAIN)
        if len(down) > layout.rank:
            raise InputError(
                f"{where} has rank {len(down)}, the refiner has room for {layout.rank}",
                f"Set lora_rank: {len(down)} in the options of the refiner streamdiffusion",
            )
    with torch.no_grad():
        numbers = layout.pack(lora.factors).to("cpu", dtype)
    if not bool(numbers.isfinite().all()):
        raise FormatError(f"{where}: its numbers are too large for {dtype}", _AGAIN)
    return numbers
