"""The refiner trained on the person: a small convolutional network, one step."""

from being.refine.native.refiner import load

__all__ = ["load"]
