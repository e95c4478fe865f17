"""Footage: a film read, cropped to the portrait, with its sound."""

from being.capture.video.reader import Footage, open_footage

__all__ = ["Footage", "open_footage"]
