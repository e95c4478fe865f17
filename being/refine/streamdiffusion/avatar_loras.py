"""LoRAs of the avatars that are played: read once per version of an avatar, some of them on the device."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from being.avatar.library import Library, LibraryEntry
from being.errors import InputError
from being.refine.streamdiffusion.avatar_cache import AvatarCache
from being.refine.streamdiffusion.avatar_lora import FILE, LoraBase, check_base, load_avatar_lora, pack_checked
from being.refine.streamdiffusion.lora_layout import LoraLayout
from being.refine.streamdiffusion.low_rank import AttentionChange

log = logging.getLogger(__name__)

RESIDENT = 32  # LoRAs on the device, 7 MB each of SD-turbo at rank 16


@dataclass(frozen=True, eq=False)
class LoadedLora:
    """numbers : (width,) of `LoraLayout` in the device's number format, in host memory. strength : see `LoraFacts`."""

    numbers: Tensor
    strength: float


class AvatarLoras(AvatarCache[LoadedLora | None]):
    """LoRAs by avatar, None where one has none for this base, and a bank of those in use on the device, from which a
    batch takes each row's; the least recently used leave it, also those that are forgotten.

    FormatError of one that is damaged, InputError of one of a larger rank than there is room for.

    Parameters
    ----------
    base : what is refined with: a LoRA that was trained for another model is left out with a note.
    count : of the bank, at least the rows of a batch.
    """

    def __init__(
        self,
        library: Library,
        layout: LoraLayout,
        base: LoraBase,
        device: torch.device,
        dtype: torch.dtype,
        count: int = RESIDENT,
    ) -> None:
        super().__init__(library, self._read)
        self._layout, self._base = layout, base
        self._device, self._dtype, self._count = device, dtype, count
        self._bank: Tensor | None = None
        self._slots: OrderedDict[LoadedLora, int] = OrderedDict()

    def any_in_library(self) -> bool:
        """Whether any avatar at hand has a LoRA."""
        return any(FILE in entry.manifest.files for entry in self._library.entries())

    def slots(self, loras: Sequence[LoadedLora]) -> list[int]:
        """Where in the bank each row's lies; what is not there yet is copied there."""
        wanted = dict.fromkeys(loras)
        if len(wanted) > self._count:
            raise ValueError(f"{len(wanted)} LoRAs in one batch, at most {self._count}")
        for lora in wanted:
            if lora in self._slots:
                self._slots.move_to_end(lora)
        for lora in wanted:
            if lora not in self._slots:
                slot = len(self._slots)
                if slot == self._count:
                    _, slot = self._slots.popitem(last=False)
                self.bank[slot].copy_(lora.numbers, non_blocking=True)
                self._slots[lora] = slot
        return [self._slots[lora] for lora in loras]

    @property
    def bank(self) -> Tensor:
        """(count, width) on the device; made when it is first asked for, and never moved: graphs read it."""
        if self._bank is None:
            with torch.inference_mode(False):  # it may be written to outside as well
                self._bank = torch.zeros(self._count, self._layout.width, dtype=self._dtype, device=self._device)
        return self._bank

    def changes(self, slots: Tensor) -> list[AttentionChange]:
        """Of rows whose LoRAs lie at `slots` (N,) int64, see `LoraLayout.changes`."""
        return self._layout.changes(self.bank[slots])

    def _read(self, entry: LibraryEntry) -> LoadedLora | None:
        if FILE not in entry.manifest.files:
            return None
        path = entry.folder / FILE
        lora = load_avatar_lora(path)
        try:
            check_base(lora.facts, self._base, path)
        except InputError as error:
            log.warning("%s is refined without its LoRA: %s", entry.id, error)
            return None
        for name in ("prompt", "timesteps"):
            trained, here = getattr(lora.facts.base, name), getattr(self._base, name)
            if trained != here:
                log.warning("%s: its LoRA was trained with %s %r, not %r", entry.id, name, trained, here)
        numbers = pack_checked(lora, self._layout, path, self._dtype)
        if self._device.type == "cuda":
            numbers = numbers.pin_memory()  # so that frames do not wait while it is copied into the bank
        return LoadedLora(numbers, lora.facts.strength)
