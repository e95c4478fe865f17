"""The size of pictures on the command line: one side of a square, or WIDTHxHEIGHT."""

from __future__ import annotations

import re

import click

from being.errors import InputError


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "512x512"."""
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text.strip())
    if match is None:
        raise InputError(f"size {text!r} is not WIDTHxHEIGHT", "Write it like 512x512")
    return int(match[1]), int(match[2])


class PictureSize(click.ParamType[tuple[int, int]]):
    """512 or 1080x1920 -> (width, height), pixels, of at least `least` and at most `most` a side."""

    name = "size"

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Raises click's usage error for anything else."""
        text = str(value).strip()
        try:
            width, height = parse_size(f"{text}x{text}" if text.isdigit() else text)
        except InputError:
            self.fail(f"{value!r} is no size: give one side (512) or WIDTHxHEIGHT (1080x1920)", param, ctx)
        if any(not self.least <= side <= self.most or side % 2 for side in (width, height)):
            self.fail(f"{value} is out of range: even numbers from {self.least} to {self.most}", param, ctx)
        return width, height
