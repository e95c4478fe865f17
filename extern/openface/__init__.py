"""OpenFace's table of facial action units, `au.csv`, in either style of header."""

from being.extern.openface.units import ActionUnits, read_units, write_units

__all__ = ["ActionUnits", "read_units", "write_units"]
