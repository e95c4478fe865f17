"""Approximations of an avatar's network for a CPU, chosen by name, prepared from caches where there are any."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from being.errors import InputError
from being.model.approx import cache
from being.model.approx.blocks import Floats
from being.model.approx.deformer import Deformer
from being.model.approx.distilled import DistilledDeformer, fit_distilled
from being.model.approx.motion_stats import PRUNE_BELOW, full_deformer, measure_motion
from being.model.approx.pca import PcaDeformer, fit_pca
from being.model.approx.pruned import PrunedDeformer
from being.model.gaussians import Gaussians
from being.model.network import DeformationNetwork

FORMER_CACHES = {  # names that earlier versions gave the files
    "motion_stats.safetensors": "survey.safetensors",
    "pca.safetensors": "basis.safetensors",
    "distilled.safetensors": "lite.safetensors",
}

Form = Literal["full", "pruned", "pca", "distilled"]
FORMS: tuple[Form, ...] = ("full", "pruned", "distilled", "pca")  # from the exact to the cheapest

T = TypeVar("T")


def make_deformer(
    form: Form,
    network: DeformationNetwork,
    gaussians: Gaussians,
    *,
    threads: int = 0,
    prune_below: float = PRUNE_BELOW,
    viewpoint: Floats | None = None,
    caches: Sequence[Path] = (),
    write_to: Path | None = None,
) -> Deformer:
    """Prepare a form; `full` at once, the others fit what no cache holds (seconds; `distilled` half a minute).

    Parameters
    ----------
    threads : for one frame; 0 for all usable cores.
    prune_below : a Gaussian whose colour never changes by more (of 1) is not evaluated.
    viewpoint : (3,) where in canonical space the camera usually is, `lean.usual_viewpoint`; None: far ahead.
    caches : folders looked through in order for motion_stats.safetensors, pca.safetensors, distilled.safetensors.
    write_to : folder that receives what was fitted; None writes nothing. A folder that cannot be written is no error.

    Raises
    ------
    InputError
        An unknown form, or one that needs recorded tokens of a network without.
    FormatError
        A damaged cache.
    """
    if form not in FORMS:
        raise InputError(f"form {form!r} is unknown", f"Known: {', '.join(FORMS)}")
    if form == "full":
        return full_deformer(network, gaussians, threads)
    owner = cache.fingerprint(network, gaussians, viewpoint)
    folders = [*caches, *([write_to] if write_to else [])]

    def cached(name: str, load: Callable[[Path], T | None], fit: Callable[[], T], save: Callable[[Path, T], None]) -> T:
        for folder in folders:
            for known in (name, FORMER_CACHES[name]):
                if (found := load(folder / known)) is not None:
                    return found
        fitted = fit()
        if write_to is not None:
            with contextlib.suppress(OSError):  # a cache that cannot be kept is made again next time
                save(write_to / name, fitted)
        return fitted

    stats = cached(
        "motion_stats.safetensors",
        lambda path: cache.load_motion_stats(path, owner, gaussians, viewpoint),
        lambda: measure_motion(network, gaussians, viewpoint=viewpoint),
        lambda path, value: cache.save_motion_stats(path, value, owner),
    )
    if form == "pruned":
        return PrunedDeformer(network, gaussians, stats, prune_below, threads)
    if form == "distilled":
        head = cached(
            "distilled.safetensors",
            lambda path: cache.load_distilled(path, owner, network.config.width),
            lambda: fit_distilled(network, gaussians, stats, prune_below=prune_below),
            lambda path, value: cache.save_distilled(path, value, owner),
        )
        return DistilledDeformer(network, gaussians, stats, head, prune_below, threads)
    _, moving = stats.moving_first(prune_below)
    basis = cached(
        "pca.safetensors",
        lambda path: cache.load_pca(path, owner, gaussians, moving),
        lambda: fit_pca(network, gaussians, stats, prune_below=prune_below),
        lambda path, value: cache.save_pca(path, value, owner),
    )
    return PcaDeformer(network, gaussians, stats, basis, prune_below, threads)
