"""Training: from one person's footage to an avatar. `fit` reads as the table of contents."""

from __future__ import annotations

from being.training.config import FitConfig
from being.training.fit import FitResult, fit

__all__ = ["FitConfig", "FitResult", "fit"]
