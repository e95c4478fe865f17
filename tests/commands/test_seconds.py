"""Places in a film as people write them."""

from __future__ import annotations

import click
import pytest

from being.commands.seconds import Seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("12.5", 12.5), ("1:05", 65), ("1:02:03.5", 3723.5), ("90", 90)]
)
def test_times(text: str, seconds: float) -> None:
    assert Seconds().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "1:75", "1:-5", "1:2:3:4", "nan", "inf", "1:"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        Seconds().convert(text, None, None)
    assert "1:05" in str(caught.value.message)
