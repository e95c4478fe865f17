"""Line charts as SVG text: no plotting package, sharp at any size, and they follow the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 240  # viewBox units
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 28, 30  # room for the labels
TICKS = 5


@dataclass(frozen=True)
class Line:
    """One curve: points (x, y), a CSS colour, and a name for the legend."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    faint: bool = False


def nice_ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Round numbers that cover [low, high] in about `count` steps."""
    span = max(high - low, 1e-9)
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first = math.floor(low / step) * step
    return [first + i * step for i in range(math.ceil((high - first) / step - 1e-9) + 1)]


def line_chart(lines: Sequence[Line], x_label: str, logarithmic: bool = False, bands: Sequence[float] = ()) -> str:
    """An `<svg>` of the lines. `bands` are x values where a dashed vertical line marks a change of stage."""
    drawn = [Line(n.name, _transformed(n.points, logarithmic), n.colour, n.faint) for n in lines]
    drawn = [line for line in drawn if line.points]
    if not drawn:
        return "<p>No points.</p>"
    xs = [x for line in drawn for x, _ in line.points]
    ys = [y for line in drawn for _, y in line.points]
    ticks = nice_ticks(min(ys), max(ys))
    low, high = ticks[0], max(ticks[-1], ticks[0] + 1e-9)
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1e-9)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for tick in ticks:
        _, y = place(x_low, tick)
        label = f"{10**tick:.2g}" if logarithmic else f"{tick:g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for tick in nice_ticks(x_low, x_high):
        if x_low <= tick <= x_high:
            x, _ = place(tick, low)
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>'
            )
    for band in bands:
        x, _ = place(band, low)
        parts.append(f'<line class="band" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for line in drawn:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line.points))
        style = (
            f'stroke="{line.colour}" opacity="{0.35 if line.faint else 1}" stroke-width="{1.2 if line.faint else 2}"'
        )
        parts.append(f'<polyline fill="none" {style} stroke-linejoin="round" points="{path}"/>')
    x, y = LEFT, 10
    for line in drawn:
        parts.append(f'<rect x="{x}" y="{y}" width="10" height="3" fill="{line.colour}"/>')
        parts.append(f'<text class="tick" x="{x + 16}" y="{y + 5}">{escape(line.name)}</text>')
        x += 30 + 7 * len(line.name)
    parts.append(f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor="end">{escape(x_label)}</text>')
    return "".join(parts) + "</svg>"


def _transformed(points: Sequence[tuple[float, float]], logarithmic: bool) -> list[tuple[float, float]]:
    if not logarithmic:
        return [(x, y) for x, y in points if math.isfinite(y)]
    return [(x, math.log10(y)) for x, y in points if y > 0]
