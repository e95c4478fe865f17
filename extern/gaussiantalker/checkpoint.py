"""The files of a trained GaussianTalker, found and read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from being.extern.gaussiantalker.network import load_network
from being.extern.untrusted import check_file, load_tensors

from being.errors import FormatError, InputError
from being.model.gaussians import Gaussians
from being.model.network import DeformationNetwork
from being.model.ply import load_ply

CLOUD, NETWORK = "point_cloud.ply", "deformation.pth"
_ITERATION = re.compile(r"(fine_|coarse_)?iteration_(\d+)")
_REMEDY = f"Give GaussianTalker's model folder, or the folder that holds {CLOUD} and {NETWORK}"


@dataclass(frozen=True)
class Checkpoint:
    """A trained person: canonical Gaussians, the network, and the folder they were read from."""

    gaussians: Gaussians
    network: DeformationNetwork
    folder: Path

    @property
    def audio_width(self) -> int:
        return self.network.config.audio_width


def find_checkpoint(model: Path, iteration: int | None = None) -> Path:
    """The folder with the point cloud.

    Parameters
    ----------
    model : the folder itself, or a model folder with `point_cloud/iteration_N` or `point_cloud/fine_iteration_N` in it.
    iteration : N; the last fine one where None. Coarse ones hold a still head and an untrained network: only by N.

    Raises
    ------
    InputError
        There is none, or not that one.
    """
    model = Path(model)
    if (model / CLOUD).is_file():
        return model
    folders = {}
    for root in (model / "point_cloud", model):
        for path in sorted(root.iterdir()) if root.is_dir() else ():
            match = _ITERATION.fullmatch(path.name)
            if match is not None and (path / CLOUD).is_file():
                folders[match[1] != "coarse_", int(match[2]), path] = path
    if iteration is not None:
        chosen = [key for key in folders if key[1] == iteration]
    else:
        chosen = [key for key in folders if key[0]]
    if not chosen:
        known = ", ".join(path.name for path in folders.values())
        what = f"no iteration {iteration}" if iteration is not None else "no fine iteration"
        raise InputError(f"{model} holds {what}{f' (there are {known})' if known else ''}", _REMEDY)
    return folders[max(chosen)]


def read_checkpoint(model: Path, iteration: int | None = None) -> Checkpoint:
    """Read a trained GaussianTalker; errors as `find_checkpoint`, and FormatError for damaged or hostile files."""
    folder = find_checkpoint(model, iteration)
    check_file(folder / CLOUD, _REMEDY)
    state = load_tensors(folder / NETWORK, _REMEDY)
    try:
        published = load_network(state)
    except FormatError as error:
        raise FormatError(f"{folder / NETWORK}: {error.problem}", error.remedy) from error
    return Checkpoint(load_ply(folder / CLOUD), published.network, folder)
