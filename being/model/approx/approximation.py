"""Choose and prepare a CPU form of an avatar's network by name, from its caches where they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from being.errors import InputError
from being.model.approx import cache
from being.model.approx.deformer import Deformer
from being.model.approx.distilled import LiteDeformer, fit_lite
from being.model.approx.motion_stats import STILL, full_deformer, survey
from being.model.approx.pca import BasisDeformer, fit_basis
from being.model.approx.pruned import StillDeformer
from being.model.gaussians import Gaussians
from being.model.network import DeformationNetwork

Form = Literal["full", "still", "basis", "lite"]
FORMS: tuple[Form, ...] = ("full", "still", "lite", "basis")  # from the exact to the cheapest

T = TypeVar("T")


def make_deformer(
    form: Form,
    network: DeformationNetwork,
    gaussians: Gaussians,
    *,
    threads: int = 0,
    still: float = STILL,
    caches: Sequence[Path] = (),
    write_to: Path | None = None,
) -> Deformer:
    """Prepare a form; `full` at once, the others fit what no cache holds (seconds; `lite` half a minute).

    Parameters
    ----------
    threads : for one frame; 0 for all usable cores.
    still : a Gaussian whose colour never changes by more (of 1) is not evaluated.
    caches : folders looked through in order for survey.safetensors, basis.safetensors, lite.safetensors.
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
    owner = cache.fingerprint(network, gaussians)
    folders = [*caches, *([write_to] if write_to else [])]

    def cached(name: str, load: Callable[[Path], T | None], fit: Callable[[], T], save: Callable[[Path, T], None]) -> T:
        for folder in folders:
            if (found := load(folder / name)) is not None:
                return found
        fitted = fit()
        if write_to is not None:
            with contextlib.suppress(OSError):  # a cache that cannot be kept is made again next time
                save(write_to / name, fitted)
        return fitted

    surveyed = cached(
        "survey.safetensors",
        lambda path: cache.load_survey(path, owner, gaussians),
        lambda: survey(network, gaussians),
        lambda path, value: cache.save_survey(path, value, owner),
    )
    if form == "still":
        return StillDeformer(network, gaussians, surveyed, still, threads)
    if form == "lite":
        head = cached(
            "lite.safetensors",
            lambda path: cache.load_lite(path, owner, network.config.width),
            lambda: fit_lite(network, gaussians, surveyed, still=still),
            lambda path, value: cache.save_lite(path, value, owner),
        )
        return LiteDeformer(network, gaussians, surveyed, head, still, threads)
    _, moving = surveyed.moving_first(still)
    basis = cached(
        "basis.safetensors",
        lambda path: cache.load_basis(path, owner, gaussians, moving),
        lambda: fit_basis(network, gaussians, surveyed, still=still),
        lambda path, value: cache.save_basis(path, value, owner),
    )
    return BasisDeformer(network, gaussians, surveyed, basis, still, threads)
