"""What a GPU would refuse, seen without one: an operation on tensors of two devices."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class OneDevice(TorchDispatchMode):
    """Within it every operation must find its tensors on one device; "meta" tensors stand for those of a GPU.

    Numbers (tensors without dimensions) may come from the CPU, as they may on a GPU.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor) and leaf.dim() > 0]
        devices = {leaf.device.type for leaf in given}
        if len(devices) > 1 and func is not torch.ops.aten.copy_.default:
            raise RuntimeError(f"{func} got tensors on {sorted(devices)}")
        return func(*args, **(kwargs or {}))
