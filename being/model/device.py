"""The device of tensors by its name, and the CUDA device that kernels of our own are launched on."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext

import torch

from being.errors import InputError

NAMES = "auto, cpu, cuda, cuda:N"
PATTERN = r"^(auto|cpu|cuda(:\d{1,3})?)$"


def check_device_name(name: str) -> None:
    """Raise InputError for a name that is none, whatever devices there are here."""
    if re.fullmatch(PATTERN, name) is None:
        raise InputError(f"device {name!r} is none of {NAMES}", "Use auto, or leave it out")


def device_of(name: str) -> torch.device:
    """The device of a name; "auto" is CUDA where it is present. Raises InputError as `check_device_name` does."""
    check_device_name(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def usable_device(name: str) -> torch.device:
    """As `device_of`; raises InputError also where there is no such device here."""
    device = device_of(name)
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used ({reason})", "Use --device cpu") from error
    return device


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Make a CUDA device the current one of this thread.

    Triton launches on the current device, and graphs are captured there, wherever their tensors lie.
    """
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
