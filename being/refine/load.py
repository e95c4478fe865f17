"""A refiner by its settings. What a backend needs is imported when it is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from being.avatar.library import Library
from being.errors import InputError
from being.inference.frame_batch import FrameStage
from being.model.device import device_of, on_device
from being.refine.contract import Refiner
from being.refine.cutting import make_ready
from being.refine.settings import RefinerSettings
from being.refine.stage import RefineStage


def load_stage(settings: RefinerSettings, library: Library) -> FrameStage:
    """The frame stage that settings describe; what its kernels need is compiled.

    Raises
    ------
    InputError, MissingDependencyError, FormatError
        A name that cannot be imported, a package or weights that are missing or damaged: one line with the remedy.
    """
    if settings.load is None:
        device = device_of(settings.device)
        with on_device(device):
            make_ready(device)
            return RefineStage(load_refiner(settings, library))
    module, _, name = settings.load.partition(":")
    try:
        load: Callable[..., FrameStage] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"refiner {settings.load!r} cannot be imported: {error}", "Name it as module:function"
        ) from None
    return load(device=settings.device)


def load_refiner(settings: RefinerSettings, library: Library) -> Refiner:
    """The refiner of a backend; errors as `load_stage`.

    A backend is a package `being.refine.BACKEND` with a function `load(options, library, device) -> Refiner`.
    """
    backend = importlib.import_module(f"being.refine.{settings.backend}")
    refiner: Refiner = backend.load(settings.options, library, device_of(settings.device))
    return refiner
