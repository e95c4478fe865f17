"""What is told of the background: how it moves, and what the plate shows."""

from __future__ import annotations

from dataclasses import dataclass

FILMED = "as filmed"  # what the plate of a camera that stands still shows
LAID_TOGETHER = "laid together from what the moving camera saw"


@dataclass(frozen=True)
class BackgroundMotion:
    """shift : the background's largest usual shift, pixels (0 before a plain wall). still : whether it has one plate.
    changes : it does not merely shift, most of it is replaced.
    """

    shift: float
    still: bool
    changes: bool

    def __str__(self) -> str:
        if self.still:
            return "the camera stands still"
        if self.changes:
            return "the background changes"
        return f"the camera moves, the background shifts by {self.shift:.0f} pixels"
