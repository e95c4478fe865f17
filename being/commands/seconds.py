"""A place in a film on the command line: seconds, or minutes:seconds."""

from __future__ import annotations

import math

import click


class Seconds(click.ParamType[float]):
    """12.5, 1:05 or 1:02:03.5 -> seconds."""

    name = "seconds"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises click's usage error for anything else."""
        if isinstance(value, float | int):
            return float(value)
        parts = str(value).split(":")
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            numbers = [math.nan]
        small = all(0 <= number < 60 for number in numbers[1:])
        if len(parts) > 3 or not small or not math.isfinite(numbers[0]) or numbers[0] < 0:
            self.fail(f"{value!r} is no time: give seconds (12.5) or minutes and seconds (1:05)", param, ctx)
        return sum(number * 60**power for power, number in enumerate(reversed(numbers)))
