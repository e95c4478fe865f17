"""Our canonical Gaussians as the PLY that 3D Gaussian splatting writes."""

from __future__ import annotations

from pathlib import Path

from being.errors import InputError
from being.model.gaussians import Gaussians
from being.model.ply import save_ply


def write_ply(path: Path, gaussians: Gaussians, strict: bool = False) -> None:
    """Write the Gaussians; GaussianTalker and splat viewers read the file.

    Parameters
    ----------
    strict : leave out `head_weight` and `audio_gate`, which viewers pass over but a reader of a fixed row may trip on.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    try:
        save_ply(path, gaussians, ours=not strict)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})", "Choose another folder") from error
