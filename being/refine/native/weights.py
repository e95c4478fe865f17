"""A trained refiner as one safetensors file in the avatar's folder; what it was made for stands in its header."""

from __future__ import annotations

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
from being.errors import FormatError
from being.model.weights import check_finite
from being.refine.native.network import RefineConfig, RefineNetwork

FILE = "refiner.safetensors"
_HEADER = "being.refiner"
_REFERENCES = "references."
_REMEDY = "Train it again: being fit-refiner"


class RefinerFacts(BaseModel):
    """What the header of the file says.

    strength : how much of the change is made at a session's strength of 1; below 1 where more would have moved
    lips or left the film. sides : of the crops that its footage has, pixels, the most frequent first. gaussians :
    SHA-256 of the avatar's gaussians.ply, whose renders it was made for. metrics : on held-out frames.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["native"] = "native"
    version: Literal[1, 2] = 2  # 2: may hold references
    network: RefineConfig = RefineConfig()
    strength: float = Field(default=1.0, ge=0, le=1)
    sides: tuple[int, ...] = ()
    gaussians: str = ""
    metrics: dict[str, float] = {}


@dataclass(frozen=True, eq=False)
class TrainedRefiner:
    """Facts, and weights and references by name, on the CPU; in single precision, differences as bytes."""

    facts: RefinerFacts
    state: Mapping[str, Tensor]


def save_refiner(path: Path, refiner: TrainedRefiner) -> None:
    """Write the file whole or not at all; weights in half precision, in which they run on a GPU, references as they
    are."""
    kept = {name: value.detach().cpu().contiguous() for name, value in refiner.state.items()}
    state = {name: value if name.startswith(_REFERENCES) else value.half() for name, value in kept.items()}
    with whole_file(path) as partial:
        save_file(state, partial, {_HEADER: refiner.facts.model_dump_json()})


def load_refiner(path: Path) -> TrainedRefiner:
    """Read it.

    Raises
    ------
    FormatError
        No safetensors file of a refiner, or a tensor that is missing, unknown, of a wrong shape, or not finite.
    """
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: not a readable safetensors file ({error})", _REMEDY) from error
    if header is None:
        raise FormatError(f"{path}: its header does not say what it is", _REMEDY)
    try:
        facts = RefinerFacts.model_validate(json.loads(header))
    except (ValueError, ValidationError) as error:
        raise FormatError(f"{path}: header: {str(error).splitlines()[0]}", _REMEDY) from None
    with torch.device("meta"):
        wanted = RefineNetwork(facts.network).state_dict()
    for name, value in wanted.items():
        found = state.get(name)
        if found is None or found.shape != value.shape:
            shape = "is missing" if found is None else f"has shape {tuple(found.shape)}, expected {tuple(value.shape)}"
            raise FormatError(f"{path}: tensor {name} {shape}", _REMEDY)
        if value.dtype == torch.uint8:
            if found.dtype != torch.uint8:
                raise FormatError(f"{path}: tensor {name} is {found.dtype}, expected bytes", _REMEDY)
            continue
        try:
            check_finite(name, found)
        except FormatError as error:
            raise FormatError(f"{path}: {error.problem}", _REMEDY) from None
    if unknown := sorted(set(state) - set(wanted)):
        raise FormatError(f"{path}: tensor {unknown[0]} is unknown", _REMEDY)
    whole = {name: value if value.dtype == torch.uint8 else value.float() for name, value in state.items()}
    return TrainedRefiner(facts, whole)
