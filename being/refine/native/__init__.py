"""The refiner made of the person's own film: reference frames, and a small network where one was trained; one step."""

from being.refine.native.refiner import load

__all__ = ["load"]
