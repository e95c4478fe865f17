"""The talking-portrait folder: read, write, validate."""

from __future__ import annotations

from being.dataset.folder import Dataset, Split
from being.dataset.validate import validate
from being.dataset.writer import DatasetWriter

__all__ = ["Dataset", "DatasetWriter", "Split", "validate"]
