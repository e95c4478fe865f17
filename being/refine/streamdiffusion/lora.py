"""Low-rank changes of a network (LoRA, Hu et al. 2021): W + scale * alpha / rank * B A, added when weights are loaded.

Read as diffusers and PEFT name them (`unet.down_blocks.0...to_q.lora_A.weight`) and as kohya's trainer does
(`lora_unet_down_blocks_0_..._to_q.lora_down.weight`, with `alpha`). Changes of the text encoder are left out: the
prompt is encoded without them.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from being.errors import FormatError, InputError

_DOWN = (".lora_A.weight", ".lora_A.default.weight", ".lora_down.weight", ".lora.down.weight")
_UP = (".lora_B.weight", ".lora_B.default.weight", ".lora_up.weight", ".lora.up.weight")
_UNET = ("unet.", "lora_unet_", "base_model.model.")
_TEXT = ("text_encoder", "lora_te")


def with_lora(unet: Any, path: Path, scale: float = 1.0) -> Any:
    """The network with a change; those of its weights that do not change are shared with the one given.

    Raises
    ------
    InputError
        The file is not there.
    FormatError
        It is no safetensors file, names a layer that the network has not, or has other shapes.
    """
    layers = {name: module for name, module in unet.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    known = {name.replace(".", "_"): name for name in layers}
    changes: dict[str, Tensor] = {}
    for stem, (down, up, alpha) in read_lora(path).items():
        name = known.get(stem.replace(".", "_"))
        if name is None:
            raise FormatError(f"{path}: the network has no layer {stem!r}", "Take a LoRA of the same model")
        weight = layers[name].weight
        if down[0].numel() != weight[0].numel() or len(up) != len(weight):
            raise FormatError(f"{path}: {stem!r} does not fit {tuple(weight.shape)}", "Take a LoRA of the same model")
        rank = len(down)
        change = (up.float().flatten(1) @ down.float().flatten(1)) * (scale * (rank if alpha is None else alpha) / rank)
        changes[name] = (weight.detach().float() + change.view(weight.shape).to(weight.device)).to(weight.dtype)
    shared = {id(value): value for value in (*unet.parameters(), *unet.buffers())}
    changed = copy.deepcopy(unet, memo=dict(shared))
    for name, value in changes.items():
        changed.get_submodule(name).weight = nn.Parameter(value, requires_grad=False)
    return changed


def read_lora(path: Path) -> dict[str, tuple[Tensor, Tensor, float | None]]:
    """(A, B, alpha) by layer of the denoising network: A (r, in) or (r, in, k, k), B (out, r) or (out, r, 1, 1); alpha
    None where the file has none, which means r.

    Raises
    ------
    InputError
        The file is not there.
    FormatError
        It is no safetensors file, has no layer of the denoising network, or a layer is only half there.
    """
    if not path.is_file():
        raise InputError(f"LoRA {path} is missing", "Correct its path")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: {str(error).splitlines()[0]}", "Give a LoRA as safetensors") from error
    pairs = {}
    for name, down in tensors.items():
        ending = next((end for end in _DOWN if name.endswith(end)), None)
        if ending is None or name.startswith(_TEXT):
            continue
        stem = name.removesuffix(ending)
        up = tensors.get(stem + _UP[_DOWN.index(ending)])
        if up is None or down.dim() not in (2, 4) or up.dim() != down.dim():
            raise FormatError(f"{path}: {stem!r} is only half there", "Save the LoRA again")
        ranks = len(down), up.flatten(1).shape[1]
        if not len(down) or ranks[0] != ranks[1]:
            raise FormatError(f"{path}: {stem!r} has factors of ranks {ranks}", "Save the LoRA again")
        alpha = tensors.get(f"{stem}.alpha")
        if alpha is not None and (alpha.numel() != 1 or alpha.is_complex() or not math.isfinite(float(alpha))):
            raise FormatError(f"{path}: alpha of {stem!r} is no number", "Save the LoRA again")
        for prefix in _UNET:
            stem = stem.removeprefix(prefix)
        stem = stem.removesuffix(".processor").replace(".processor.to_", ".to_")
        pairs[stem] = (down, up, None if alpha is None else float(alpha))
    if not pairs:
        raise FormatError(f"{path}: no layer of the denoising network is in it", "Give a LoRA of the UNet")
    return pairs
