"""The report of a refiner: held-out frames before, after and as filmed, and what was measured on them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from being.report.charts import Line, line_chart
from being.report.page import inline_picture, page
from being.training.refiner.judging import Judged
from being.training.refiner.pairs import Pairs

SHOWN = 6  # frames
_NAMES = {
    "psnr": ("PSNR inside the face box, dB", "higher is nearer to the film"),
    "ssim": ("SSIM inside the face box", "higher is nearer to the film"),
    "vgg": ("Distance of VGG features", "lower is nearer to the film"),
    "spectrum": ("Distance of the radial log power spectrum, decades", "lower: as much detail as the film"),
    "identity": ("Distance of face embeddings to the film's", "lower: nearer to the person; 0.6 is somebody else"),
    "lip_shift_px": ("Shift of the mouth against the render, pixels", "what sound drives must stay where it is"),
    "flicker": ("Flicker after the head's motion is undone, grey levels", "the film's own: {film:.3g}"),
}
_STYLE = """
h1 { font-size: 30px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 40px 0 12px; } p { color: var(--soft); }
.frame { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 8px; margin-bottom: 14px; }
.frame img { width: 100%; display: block; border-radius: 8px; } figure { margin: 0; }
figcaption { color: var(--soft); font-size: 12px; } svg { width: 100%; height: auto; display: block; }
.grid { stroke: var(--line); } .tick { fill: var(--soft); font-size: 11px; }
table { border-collapse: collapse; width: 100%; background: var(--card); border-radius: 12px; overflow: hidden; }
td, th { padding: 8px 14px; text-align: right; border-bottom: 1px solid var(--line); }
td:first-child, th:first-child { text-align: left; } small { color: var(--soft); }
"""


def write_report(
    path: Path,
    title: str,
    pairs: Pairs,
    judged: Judged,
    history: Sequence[dict[str, float]],
    seconds: dict[str, float],
) -> None:
    """Write the page.

    pairs : the held-out frames that were judged. history : points of the curves by part of the loss.
    """
    rows, columns = [], _columns(pairs, judged)
    for name, (text, hint) in _NAMES.items():
        if name in judged.raw:
            numbers = "".join(f"<td>{scores[name]:.4g}</td>" for _, scores, _ in columns)
            rows.append(f"<tr><td>{text}<br><small>{hint.format(film=judged.film_flicker)}</small></td>{numbers}</tr>")
    heads = "".join(f"<th>{name}</th>" for name, _, _ in columns)
    body = [
        f"<h1>Refiner of {escape(title)}</h1>",
        f"<p>{len(pairs)} frames that neither the avatar nor the refiner was trained on. {_kept(judged)}</p>",
        f"<table><tr><th></th>{heads}</tr>{''.join(rows)}</table>",
        "<h2>Before, after, film</h2>",
        *(
            _frame(pairs, judged, row)
            for row in np.linspace(0, len(pairs) - 1, min(SHOWN, len(pairs))).round().astype(int)
        ),
    ]
    if len(history) > 1:
        names = [name for name in history[-1] if name not in ("fraction", "critic")]
        lines = [
            Line(name, [(point["fraction"], point[name]) for point in history if name in point], colour)
            for name, colour in zip(
                names, ("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#94a3b8", "#14b8a6"), strict=False
            )
        ]
        body += ["<h2>Losses</h2>", line_chart(lines, "share of the training")]
    spent = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    body.append(f"<p>{escape(spent)}</p>")
    path.write_text(page(f"Refiner of {title}", _STYLE, body), "utf-8")


def _columns(pairs: Pairs, judged: Judged) -> list[tuple[str, dict[str, float], Tensor]]:
    """What is compared: name, scores, pictures."""
    found = [("rendered", judged.raw, pairs.renders)]
    if judged.alone is not None:
        found.append(("model alone", judged.alone.scores, judged.alone.pictures))
    return [*found, ("refined", judged.refined, judged.pictures)]


def _kept(judged: Judged) -> str:
    """One sentence on the strength."""
    lost = "left the film" if judged.alone is None else "left the film further than the model alone"
    if not judged.harmless:
        return f"Even at strength {judged.strength:g} it moved the lips, flickered or {lost}, and was not kept."
    if not judged.pays:
        return "It brought frames no nearer to the film than they are, and was not kept."
    if judged.strength == 1:
        return "Strength kept: 1."
    more = "moved the lips" if judged.alone is not None else f"moved the lips, flickered or {lost}"
    return f"Strength kept: {judged.strength:g}, lowered because more would have {more}."


def _frame(pairs: Pairs, judged: Judged, row: int) -> str:
    x0, y0, x1, y1 = pairs.windows[row].tolist()
    figures = []
    for name, source in (*((name, source) for name, _, source in _columns(pairs, judged)), ("filmed", pairs.truth)):
        picture: NDArray[np.uint8] = np.ascontiguousarray(source[row, y0:y1, x0:x1].cpu().numpy())
        text = f"{name}, frame {int(pairs.frames[row])}"
        figures.append(f"<figure>{inline_picture(picture, text, 95)}<figcaption>{text}</figcaption></figure>")
    return f'<div class="frame">{"".join(figures)}</div>'
