"""A run on disk: one safetensors file, its JSON in the header, replaced whole or not at all. Nothing is pickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from being.atomic import whole_file
from being.dataset import Dataset
from being.errors import FormatError, InputError
from being.training.config import FitConfig
from being.training.former_names import with_former_names

VERSION = 2  # since rates of corrections are for each look at a frame
NAME = "checkpoint.safetensors"

# Settings that may change between stop and resume: they do not decide what is computed.
FREE_SETTINGS = {"checkpoint_every_s", "evaluation_frames", "device", "quality_suite", "keep_frames"}

State = tuple[dict[str, Tensor], dict[str, Any]]  # tensors by name, JSON values


class CheckpointStore(Protocol):
    """Where the checkpoints of a run are kept, and who is told how it goes. All workers of a run call alike."""

    def load(self, run_hash: str) -> State | None:
        """The newest state, or None; `run_hash` is the run's fingerprint. Raises as `load_checkpoint`."""
        ...

    def save(self, run_hash: str, state: Callable[[], State]) -> None:
        """Keep the state, which only the worker that writes asks for."""
        ...

    def report(self, point: dict[str, Any]) -> None:
        """The newest point of the curves: stage, step, loss, psnr..."""
        ...


class FolderCheckpointStore:
    """One file in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, run_hash: str) -> State | None:
        """What the file holds."""
        return load_checkpoint(self.folder, run_hash)

    def save(self, run_hash: str, state: Callable[[], State]) -> None:
        """Replace the file."""
        save_checkpoint(self.folder, run_hash, *state())

    def report(self, point: dict[str, Any]) -> None:
        """The points are in the state already."""


def fingerprint(dataset: Dataset, config: FitConfig) -> str:
    """Hash of what decides a run: its settings, and the footage's size, poses, face and split."""
    settings = with_former_names(config.model_dump(mode="json", exclude=FREE_SETTINGS))
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(f"{dataset.frames} {dataset.width} {dataset.height} {dataset.split}".encode())
    for array in (dataset.head_poses, dataset.torso_poses, dataset.eyes, dataset.expressions, dataset.intrinsics):
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_checkpoint(folder: Path, run_hash: str, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write the state of a run; an interruption leaves the older file."""
    path = folder / NAME
    flat = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    header = {"version": str(VERSION), "fingerprint": run_hash, "values": json.dumps(values)}
    try:
        with whole_file(path) as partial:
            save_file(flat, partial, metadata=header)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror})", "Free some space or choose another folder"
        ) from error


def load_checkpoint(folder: Path, run_hash: str) -> State | None:
    """The state of a run (tensors, values), or None where none was saved.

    Raises
    ------
    FormatError : the file is damaged. InputError : it belongs to other settings or another dataset.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        version, found, values = header["version"], header["fingerprint"], json.loads(header["values"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise FormatError(f"{path} is damaged ({error})", "Start over with --restart") from error
    if version != str(VERSION):
        raise FormatError(
            f"{path} is a checkpoint of version {version}, expected {VERSION}", "Start over with --restart"
        )
    if found != run_hash:
        raise InputError(
            f"{path} belongs to a run with other settings or other footage",
            "Use the settings it was started with, or --restart",
        )
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise FormatError(f"{path}: {name} is not finite", "Start over with --restart")
    return tensors, values
