"""Motion statistics, PCA bases and distilled heads as safetensors files, bound to the network they were made from.

They are caches: a file of another network is stale and made again; a damaged one is refused by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn

from being.atomic import whole_file
from being.errors import FormatError
from being.model.approx.blocks import FULL_CHANNELS, LEAN_CHANNELS, Floats
from being.model.approx.distilled import HEAD_WIDTH, DistilledHead
from being.model.approx.lean import colours_seen
from being.model.approx.motion_stats import MotionStats
from being.model.approx.pca import PcaBasis
from being.model.gaussians import Gaussians
from being.model.network import DeformationNetwork

VERSION = "2"  # of what the files mean; another one makes them stale
_MAX_MODES = 256
_MAX_PROBES = 4096

Arrays = dict[str, np.ndarray]


def fingerprint(network: DeformationNetwork, gaussians: Gaussians, viewpoint: Floats | None = None) -> str:
    """SHA-256 over everything that a cheaper form depends on."""
    digest = hashlib.sha256(f"{VERSION} {network.config.model_dump_json()}".encode())
    if viewpoint is not None:
        digest.update(np.ascontiguousarray(viewpoint, np.float32).tobytes())
    tensors = {**network.state_dict(), **gaussians.tensors()}
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).tobytes())
    return digest.hexdigest()


def save_motion_stats(path: Path, stats: MotionStats, owner: str) -> None:
    """`owner` is the `fingerprint`; so in every function here."""
    _write(path, {"mean": stats.mean, "peak": stats.peak}, owner)


def load_motion_stats(
    path: Path, owner: str, gaussians: Gaussians, viewpoint: Floats | None = None
) -> MotionStats | None:
    """None where there is no file, or one of another network; FormatError where it is damaged."""
    arrays = _read(path, owner, {"mean": np.float32, "peak": np.float32})
    if arrays is None:
        return None
    _check_shape(path, "mean", arrays["mean"], (gaussians.count, FULL_CHANNELS))
    _check_shape(path, "peak", arrays["peak"], (gaussians.count,))
    return MotionStats(arrays["mean"], arrays["peak"], colours_seen(gaussians, viewpoint))


def save_pca(path: Path, basis: PcaBasis, owner: str) -> None:
    """Write a PCA basis."""
    _write(path, {"modes": basis.modes, "probes": basis.probes, "solve": basis.solve}, owner)


def load_pca(path: Path, owner: str, gaussians: Gaussians, moving: int) -> PcaBasis | None:
    """As `load_motion_stats`; stale too where it was made for another number of moving Gaussians."""
    arrays = _read(path, owner, {"modes": np.float16, "probes": np.int64, "solve": np.float32})
    if arrays is None:
        return None
    modes, probes, solve = arrays["modes"], arrays["probes"], arrays["solve"]
    if modes.ndim != 3 or len(modes) > _MAX_MODES or modes.shape[2] != LEAN_CHANNELS:
        raise FormatError(f"{path}: modes has shape {modes.shape}, expected (K, M, {LEAN_CHANNELS})")
    if modes.shape[1] != moving:
        return None
    if modes.size and np.abs(modes).max() > 1:
        raise FormatError(f"{path}: modes has entries above 1", "Delete it, it is made again")
    if probes.ndim != 1 or len(probes) > _MAX_PROBES or np.any((probes < 0) | (probes >= gaussians.count)):
        raise FormatError(f"{path}: probes are not numbers of Gaussians")
    _check_shape(path, "solve", solve, (len(modes), len(probes) * LEAN_CHANNELS))
    return PcaBasis(modes, probes, solve)


def save_distilled(path: Path, head: DistilledHead, owner: str) -> None:
    """Write a distilled head."""
    arrays = {
        f"{layer}.{part}": getattr(getattr(head, layer), part).detach().float().cpu().numpy()
        for layer in ("first", "second")
        for part in ("weight", "bias")
    }
    _write(path, arrays, owner)


def load_distilled(path: Path, owner: str, width: int) -> DistilledHead | None:
    """As `load_motion_stats`."""
    shapes = {
        "first.weight": (HEAD_WIDTH, width),
        "first.bias": (HEAD_WIDTH,),
        "second.weight": (LEAN_CHANNELS, HEAD_WIDTH),
        "second.bias": (LEAN_CHANNELS,),
    }
    arrays = _read(path, owner, dict.fromkeys(shapes, np.float32))
    if arrays is None:
        return None
    head = DistilledHead(nn.Linear(width, HEAD_WIDTH), nn.Linear(HEAD_WIDTH, LEAN_CHANNELS))
    with torch.no_grad():
        for name, shape in shapes.items():
            _check_shape(path, name, arrays[name], shape)
            layer, part = name.split(".")
            getattr(getattr(head, layer), part).copy_(torch.from_numpy(arrays[name]))
    return head


def _write(path: Path, arrays: Arrays, owner: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, shared=True) as partial:  # two processes may build the same cache
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, partial, {"fingerprint": owner})


def _read(path: Path, owner: str, dtypes: Mapping[str, type]) -> Arrays | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("fingerprint") != owner:
                return None
            names = set(file.keys())
            if names != set(dtypes):
                wrong = sorted(names ^ set(dtypes))[0]
                raise FormatError(f"{path}: tensor {wrong} is {'unknown' if wrong in names else 'missing'}")
            arrays = {name: file.get_tensor(name) for name in dtypes}
    except (SafetensorError, OSError) as error:
        raise FormatError(
            f"{path}: not a readable safetensors file ({error})", "Delete it, it is made again"
        ) from error
    for name, array in arrays.items():
        if array.dtype != dtypes[name]:
            raise FormatError(f"{path}: tensor {name} is {array.dtype}, expected {np.dtype(dtypes[name])}")
        if not np.isfinite(array).all():
            raise FormatError(f"{path}: tensor {name} holds values that are not finite", "Delete it, it is made again")
    return arrays


def _check_shape(path: Path, name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise FormatError(f"{path}: tensor {name} has shape {array.shape}, expected {shape}")
