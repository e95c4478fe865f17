"""A network as one safetensors file, checked name by name before anything is built from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from being.atomic import whole_file
from being.errors import FormatError
from being.model.network import DeformationNetwork, NetworkConfig

RECORDED = "recorded_tokens"
MAX_RECORDED = 4096


def save_network(path: str | os.PathLike[str], network: DeformationNetwork) -> None:
    """Write all weights and the recorded tokens (float32), replacing `path` only when complete."""
    path = Path(path)
    state = {name: value.detach().float().cpu().contiguous() for name, value in network.state_dict().items()}
    with whole_file(path) as partial:
        save_file(state, partial)


def load_network(path: str | os.PathLike[str], config: NetworkConfig) -> DeformationNetwork:
    """Read a network of the shapes of `config`, in eval mode on the CPU.

    Raises
    ------
    FormatError
        Not a safetensors file, or a tensor that is missing, unknown, of a wrong shape, or not finite.
    """
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: not a readable safetensors file ({error})") from error
    with torch.device("meta"):  # nothing is allocated for a hostile config before the file is known to match it
        network = DeformationNetwork(config)
    try:
        check_state(network, state)
    except FormatError as error:
        raise FormatError(f"{path}: {error.problem}", error.remedy) from error
    # Put in place of the meta tensors: `to_empty` would import half of PyTorch's compiler, which takes seconds. Copies,
    # for what safetensors reads may be the file itself.
    network.recorded_tokens = torch.empty(state[RECORDED].shape)
    network.load_state_dict({name: value.float().clone() for name, value in state.items()}, assign=True)
    return network.eval()


def check_state(network: DeformationNetwork, state: Mapping[str, Tensor]) -> None:
    """FormatError names the first tensor that `network` could not take."""
    own = network.state_dict()
    for name, value in own.items():
        if name not in state:
            raise FormatError(f"tensor {name} is missing")
        found, shape = tuple(state[name].shape), tuple(value.shape)
        if name == RECORDED:
            fits = len(found) == 3 and found[1:] == shape[1:] and found[0] <= MAX_RECORDED
        else:
            fits = found == shape
        if not fits:
            raise FormatError(f"tensor {name} has shape {found}, expected {shape}")
        check_finite(name, state[name])
    unknown = sorted(set(state) - set(own))
    if unknown:
        raise FormatError(f"tensor {unknown[0]} is unknown")


def check_finite(name: str, value: Tensor) -> None:
    """FormatError where a tensor is not real floating point of 16 bits or more, or holds NaN or infinity."""
    if not value.is_floating_point() or value.itemsize < 2:
        raise FormatError(f"tensor {name} is {value.dtype}, expected floating point")
    if not bool(torch.isfinite(value).all()):
        raise FormatError(f"tensor {name} holds values that are not finite")
