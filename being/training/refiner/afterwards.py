"""The refiner of an avatar that was just trained: `being clone` and the Ray Train job make it where it pays."""

from __future__ import annotations

from pathlib import Path

from being.errors import BeingError
from being.progress import Progress
from being.training.defaults import on_gpu
from being.training.loop import Stop
from being.training.refiner.config import RefinerConfig
from being.training.refiner.fit import fit_refiner


def refine_new(
    avatar: Path,
    footage: Path,
    wanted: bool | None,
    device: str,
    progress: Progress,
    *,
    work: Path,
    stop: Stop | None = None,
) -> bool:
    """Make it; whether that was stopped.

    wanted : None for where it pays: on a GPU it is made in seconds and costs little live; on a CPU it takes as long as
    drawing the footage, and live frames have no time for it. Where nobody asked for it, footage that does not allow one
    is noted, and the avatar stays as it is. device : that trained, and makes the refiner.
    """
    if not (on_gpu(device) if wanted is None else wanted):
        return False
    try:
        return fit_refiner(avatar, footage, RefinerConfig(device=device), progress, work=work, stop=stop).stopped
    except BeingError as error:
        if wanted:
            raise
        progress.note(f"no refiner was made: {error.problem}")
        return False
