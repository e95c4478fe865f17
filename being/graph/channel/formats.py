"""Output formats by number: a background picture travels once, not with every tick."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from being.live.request_batch import FrameRequestBatch
from being.live.requests import OutputFormat

MOST = 256  # formats that both sides remember


class NewFormats(NamedTuple):
    """Formats that were not sent before, numbered from `first` on; what had such numbers is forgotten."""

    first: int
    formats: tuple[OutputFormat, ...]


class FormatSender:
    """Numbers the formats of each batch."""

    def __init__(self) -> None:
        self._numbers: dict[OutputFormat, int] = {}

    def numbered(self, batch: FrameRequestBatch) -> tuple[FrameRequestBatch, NewFormats]:
        """The batch with numbers only, and what must be told of them."""
        if len(self._numbers) + len(batch.formats) > MOST:
            self._numbers.clear()
        first = len(self._numbers)
        numbers = [self._numbers.setdefault(one, len(self._numbers)) for one in batch.formats]
        new = tuple(self._numbers)[first:]
        format_of = np.array(numbers, np.int64)[batch.format_of]
        return replace(batch, formats=(), format_of=format_of), NewFormats(first, new)


class FormatReceiver:
    """Puts the formats back."""

    def __init__(self) -> None:
        self._formats: list[OutputFormat] = []

    def restored(self, batch: FrameRequestBatch, new: NewFormats) -> FrameRequestBatch:
        """The batch with all formats known; its numbers are among them."""
        self._formats[new.first :] = new.formats
        return replace(batch, formats=tuple(self._formats))
