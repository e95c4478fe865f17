"""`au.csv`: a row a frame, a column an action unit.

Classic OpenFace writes `, ` between the names of the header, so that all names but the first begin with a space; newer
builds do not. Readers out there insist on one or the other.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from being.dataset.writer import write_action_units
from being.errors import FormatError, InputError

MAX_BYTES = 256 << 20
_UNIT = re.compile(r"AU\d{2}_r")
_REMEDY = "Run OpenFace's FeatureExtraction with -aus over the 25 fps video"


@dataclass(frozen=True)
class ActionUnits:
    """Intensities (T,) in 0..5 by name, such as "AU45_r" (blink); `classic` says how the header was written."""

    intensities: dict[str, NDArray[np.float64]]
    classic: bool

    @property
    def frames(self) -> int:
        return len(next(iter(self.intensities.values())))


def read_units(path: Path) -> ActionUnits:
    """Read the intensity columns (AUxx_r) of a table; other columns are passed over.

    Raises
    ------
    InputError
        No such file.
    FormatError
        Not a table, no blink column AU45_r, or a value that is no finite number.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing", _REMEDY)
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"{path} is larger than {MAX_BYTES >> 20} MiB", _REMEDY)
    try:
        rows = [row for row in csv.reader(io.StringIO(path.read_text("utf-8-sig"))) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} is not a CSV table ({error})", _REMEDY) from error
    header = rows[0] if rows else []
    columns = {name.strip(): index for index, name in enumerate(header) if _UNIT.fullmatch(name.strip())}
    if "AU45_r" not in columns:
        raise FormatError(f"{path} has no column 'AU45_r' (the blink)", _REMEDY)
    if len(rows) < 2:
        raise FormatError(f"{path} has no row", _REMEDY)
    intensities = {}
    for name, index in columns.items():
        try:
            values = np.array([float(row[index]) for row in rows[1:]])
        except (ValueError, IndexError) as error:
            raise FormatError(f"{path}, column {name!r} is not all numbers ({error})", _REMEDY) from error
        if not np.isfinite(values).all():
            raise FormatError(f"{path}, column {name!r} is not finite in row {int(np.argmin(np.isfinite(values))) + 2}")
        intensities[name] = values
    return ActionUnits(intensities, classic=any(name.startswith(" ") for name in header))


def write_units(path: Path, units: ActionUnits, frames: int | None = None) -> None:
    """Write a table in the style `units.classic`; the first `frames` rows only, where given."""
    count = units.frames if frames is None else frames
    if units.frames < count:
        raise FormatError(f"action units of {units.frames} frames were given for {count}", _REMEDY)
    columns = {name: values[:count] for name, values in units.intensities.items()}
    write_action_units(path, columns, units.classic)
