"""The size of pictures on the command line: one side of a square, or WIDTHxHEIGHT."""

from __future__ import annotations

import re

import click


class PictureSize(click.ParamType[tuple[int, int]]):
    """512 or 1080x1920 -> (width, height), pixels, of at least `least` and at most `most` a side."""

    name = "size"

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Raises click's usage error for anything else."""
        found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(value).strip().lower())
        if not found:
            self.fail(f"{value!r} is no size: give one side (512) or WIDTHxHEIGHT (1080x1920)", param, ctx)
        width, height = int(found[1]), int(found[2] or found[1])
        if any(not self.least <= side <= self.most or side % 2 for side in (width, height)):
            self.fail(f"{value} is out of range: even numbers from {self.least} to {self.most}", param, ctx)
        return width, height
