"""Backdrops in a GPU's memory: those of one frame size side by side, so that a batch names them by number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Pixels = npt.NDArray[np.uint8]

FIRST = 4  # backdrops there is room for at first
MOST_BYTES = 256 << 20  # of one frame size, unless a single batch needs more


class DeviceBackdrops:
    """Backdrops (height, width, 3) of one size.

    What a batch was given stays as it is: a place is written once, and where there is none left all move.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._held = torch.empty(0)
        self._places: OrderedDict[int, tuple[Pixels, int]] = OrderedDict()  # holds arrays, or an id might come again
        self._used = 0

    def find(self, wanted: Sequence[Pixels]) -> tuple[Tensor, list[int]]:
        """(K, height, width, 3) on the device, and which of them each wanted one is.

        Avatars hand out the same array for every frame, so arrays are told apart by identity.
        """
        kinds = {id(pixels): pixels for pixels in wanted}
        for key in kinds:
            if key in self._places:
                self._places.move_to_end(key)
        new = [pixels for key, pixels in kinds.items() if key not in self._places]
        if self._used + len(new) > len(self._held):
            self._move(len(new), kinds)
        for pixels in new:
            self._add(pixels)
        return self._held, [self._places[id(pixels)][1] for pixels in wanted]

    def _add(self, pixels: Pixels) -> None:
        host = torch.tensor(pixels)  # a copy: what is read-only PyTorch does not take as it is
        if self._device.type == "cuda":
            host = host.pin_memory()
        self._held[self._used].copy_(host, non_blocking=True)
        self._places[id(pixels)] = pixels, self._used
        self._used += 1

    def _move(self, new: int, kinds: dict[int, Pixels]) -> None:
        """To another tensor with room for more; those least recently used stay behind where there would be too many."""
        shape = next(iter(kinds.values())).shape
        most = max(len(kinds), MOST_BYTES // int(np.prod(shape)))
        while self._places and len(self._places) + new > most:
            self._places.popitem(last=False)  # never one of the wanted: they are the most recent
        room = min(max(FIRST, 2 * (len(self._places) + new)), max(most, len(self._places) + new))
        held = torch.empty(room, *shape, dtype=torch.uint8, device=self._device)
        kept = [(pixels, place) for pixels, place in self._places.values()]
        if kept:
            torch.index_select(
                self._held, 0, torch.tensor([place for _, place in kept], device=self._device), out=held[: len(kept)]
            )
        self._places = OrderedDict((id(pixels), (pixels, place)) for place, (pixels, _) in enumerate(kept))
        self._held, self._used = held, len(kept)
