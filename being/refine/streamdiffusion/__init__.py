"""One step of a latent diffusion model (SD-turbo with TAESD) over the face crops of any people and sessions.

StreamDiffusion (Kodaira et al. 2023) made img2img of one step live; here its step runs without what it carries from
frame to frame, on a network packed for one prompt (`layers`), in CUDA graphs (`graphs`), with noise that sticks to the
face (`noise`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from being.avatar.library import Library
from being.refine.contract import Refiner
from being.refine.streamdiffusion.loading import load_weights
from being.refine.streamdiffusion.refiner import StreamDiffusionRefiner
from being.refine.streamdiffusion.settings import checked_settings


def load(options: Mapping[str, Any], library: Library, device: torch.device) -> Refiner:
    """The refiner by its options, see `StreamDiffusionSettings`.

    Raises
    ------
    InputError
        An option that is unknown or out of range; a file that cannot be had.
    MissingDependencyError, FormatError
        See `load_weights`.
    """
    settings = checked_settings(options)
    dtype = {
        "auto": torch.float16 if device.type == "cuda" else torch.float32,
        "float16": torch.float16,
        "bfloat16": torch.bfloat16,
        "float32": torch.float32,
    }[settings.precision]
    return StreamDiffusionRefiner(load_weights(settings, device, dtype), settings, library)
