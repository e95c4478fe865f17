"""Sizes on the command line."""

from __future__ import annotations

import click
import pytest

from being.commands.picture_size import PictureSize


def test_a_side_or_both() -> None:
    size = PictureSize(64, 1920)
    assert size.convert("512", None, None) == (512, 512)
    assert size.convert("1080x1920", None, None) == (1080, 1920)


@pytest.mark.parametrize("text", ["", "512x", "x512", "513", "62", "1922", "1080x1921", "big", "512.0", "-512"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is no size|out of range"):
        PictureSize(64, 1920).convert(text, None, None)
