"""The report of a run: one HTML file that needs nothing else, made to be looked at."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from being.report.charts import Line, line_chart
from being.report.page import inline_picture, page
from being.training.quality.evaluate import Evaluation
from being.training.quality.suite import STRIP_FRAMES, QualityReport

Picture = NDArray[np.uint8]

ERROR_FULL = 0.25  # absolute colour difference painted at full heat
CROP_SIDE = 192  # pixels of the enlarged mouth
BLUE, ORANGE, GREEN, GREY = "#3b82f6", "#f59e0b", "#10b981", "#94a3b8"

_STYLE = """
h1 { font-size: 30px; margin: 0 0 4px; letter-spacing: -.02em; } h2 { font-size: 18px; margin: 44px 0 12px; }
p { margin: 0 0 12px; color: var(--soft); max-width: 75ch; }
.head { display: flex; gap: 24px; align-items: center; } .head img { width: 132px; border-radius: 16px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 24px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; }
.card b { display: block; font-size: 26px; letter-spacing: -.02em; } .card span { color: var(--soft); font-size: 13px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 12px; }
video { width: min(100%, 512px); border-radius: 12px; display: block; margin-bottom: 12px; }
.strip { display: grid; grid-template-columns: repeat(8, 1fr); gap: 4px; } .strip img { width: 100%; display: block; }
svg { width: 100%; height: auto; display: block; }
.grid { stroke: var(--line); } .tick { fill: var(--soft); font-size: 11px; }
.band { stroke: var(--soft); stroke-dasharray: 3 4; }
.frame { display: grid; grid-template-columns: 2fr 2fr 2fr .98fr; gap: 8px; margin-bottom: 18px; }
.frame figure { margin: 0; } .frame img { width: 100%; display: block; border-radius: 8px; }
.mouths { display: grid; gap: 8px; }
figcaption { color: var(--soft); font-size: 12px; margin-top: 4px; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; background: var(--card); border-radius: 12px; overflow: hidden; }
td, th { padding: 8px 14px; text-align: right; border-bottom: 1px solid var(--line); }
td { font-variant-numeric: tabular-nums; }
td:first-child, th:first-child { text-align: left; } th { color: var(--soft); font-weight: 500; font-size: 13px; }
"""


@dataclass(frozen=True)
class Shown:
    """A held-out frame for the report: truth and render RGB (H, W, 3), lip box x0 y0 x1 y1, its scores."""

    frame: int
    block: str
    truth: Picture
    render: Picture
    lips: tuple[float, float, float, float]
    psnr: float
    ssim: float
    mouth_psnr: float


def write_report(
    path: Path,
    title: str,
    preview: Picture,
    evaluation: Evaluation,
    shown: Sequence[Shown],
    history: Sequence[dict[str, Any]],
    seconds: dict[str, float],
    facts: dict[str, str],
    quality: QualityReport | None = None,
) -> None:
    """Write the page to `path`.

    Parameters
    ----------
    history : the run's curve points. seconds : time by part. facts : name -> text, the table of settings. quality : the
    avatar's own speech, its mouth and its flicker, and the assessment.
    """
    body = [
        _header(title, preview, evaluation, history, seconds, quality),
        "" if quality is None else _assessment(quality) + _novel_speech(quality),
        "<h2>Curves</h2>" + _curves(history),
        "<h2>Held-out frames</h2><p>Frames the avatar never saw: filmed, drawn, and the difference "
        f"(white is {ERROR_FULL:.0%} of full scale or more); beside them the mouth, filmed above drawn.</p>",
        "".join(_frame(frame) for frame in shown) or "<p>No frame was held out.</p>",
        "<h2>Scores</h2>" + _scores(evaluation) + _scores_note(evaluation, quality),
        '<div class="two"><div><h2>Time</h2>'
        + _time(seconds)
        + "</div><div><h2>Run</h2>"
        + _facts(facts)
        + "</div></div>",
    ]
    path.write_text(page(title, _STYLE, body), "utf-8")


def heat(truth: Picture, render: Picture) -> Picture:
    """Difference of two pictures as colour, black through violet and orange to white: (H, W, 3)."""
    error = np.abs(truth.astype(np.float32) - render.astype(np.float32)).mean(-1) / 255 / ERROR_FULL
    stops = np.array([[0, 0, 0], [60, 15, 110], [190, 55, 85], [250, 150, 40], [255, 255, 255]], np.float32)
    place = np.clip(error, 0, 1) * (len(stops) - 1)
    low = np.minimum(place.astype(int), len(stops) - 2)
    share = (place - low)[..., None]
    return (stops[low] * (1 - share) + stops[low + 1] * share).astype(np.uint8)


def mouth_crop(picture: Picture, lips: tuple[float, float, float, float]) -> Picture:
    """The square around the lip box, enlarged to CROP_SIDE pixels."""
    x0, y0, x1, y1 = lips
    half = max(x1 - x0, y1 - y0, 4.0) / 2
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    box = (cx - half, cy - half, cx + half, cy + half)
    return np.asarray(
        Image.fromarray(picture).resize((CROP_SIDE, CROP_SIDE), Image.Resampling.BICUBIC, box=_within(box, picture))
    )


def _within(box: tuple[float, float, float, float], picture: Picture) -> tuple[float, float, float, float]:
    height, width = picture.shape[:2]
    x0, y0 = min(max(box[0], 0), width - 2), min(max(box[1], 0), height - 2)
    return x0, y0, max(min(box[2], width), x0 + 1), max(min(box[3], height), y0 + 1)


def _header(
    title: str,
    preview: Picture,
    evaluation: Evaluation,
    history: Sequence[dict[str, Any]],
    seconds: dict[str, float],
    quality: QualityReport | None,
) -> str:
    gaussians = history[-1]["gaussians"] if history else 0
    cards = [
        (f"{evaluation.mean('psnr'):.2f} dB", "held-out PSNR, person"),
        (f"{evaluation.mean('ssim'):.4f}", "held-out SSIM, person"),
        (f"{evaluation.mean('mouth_psnr'):.2f} dB", "held-out PSNR, mouth"),
        *_quality_cards(quality),
        (f"{gaussians:,}", "Gaussians"),
        (_clock(sum(seconds.values())), "time"),
    ]
    tiles = "".join(f'<div class="card"><b>{value}</b><span>{name}</span></div>' for value, name in cards)
    return (
        f'<div class="head">{inline_picture(preview, "the avatar")}<div><h1>{escape(title)}</h1>'
        f'<p>Report of being fit</p></div></div><div class="cards">{tiles}</div>'
    )


def _quality_cards(quality: QualityReport | None) -> list[tuple[str, str]]:
    cards = []
    if quality is not None and quality.lip_sync is not None:
        cards += [(f"{quality.lip_sync.mouth_px:.2f} px", "held-out mouth landmarks, drawn to filmed")]
        cards += [(f"{quality.lip_sync.all_px:.2f} px", "all 68 landmarks, drawn to filmed")]
        cards += [(f"{quality.lip_sync.opening_correlation:.2f}", "correlation of the mouth's opening")]
    if quality is not None and (closing := quality.metrics.get("lid_closing")) is not None:
        cards += [(f"{closing:.0%}", "of the way of the film's lids in held-out blinks")]
    if quality is not None and quality.flicker is not None:
        cards += [(f"{quality.flicker.torso:.2f}", "grey levels the torso differs between speeches")]
        cards += [(f"{quality.flicker.neck:.2f}", "grey levels the neck differs between speeches")]
    return cards


def _assessment(quality: QualityReport) -> str:
    return "<h2>Assessment</h2><ul>" + "".join(f"<li>{escape(words)}</li>" for words in quality.words) + "</ul>"


def _novel_speech(quality: QualityReport) -> str:
    """The sample sentence: the film inside the page, or a strip of its frames."""
    parts = ["<h2>Novel speech: a sentence that is not in the footage</h2>"]
    if quality.clip is not None:
        film = base64.b64encode(quality.clip.read_bytes()).decode()
        parts.append(f'<video controls loop playsinline src="data:video/mp4;base64,{film}"></video>')
    elif quality.strip:
        shown = "".join(
            inline_picture(frame, f"frame of the sentence, {i + 1} of {STRIP_FRAMES}")
            for i, frame in enumerate(quality.strip)
        )
        parts.append(f'<div class="strip">{shown}</div>')
    parts += [f"<p>{escape(note)}</p>" for note in quality.notes]
    return "".join(parts)


def _scores_note(evaluation: Evaluation, quality: QualityReport | None) -> str:
    tracked = None if quality is None else quality.metrics.get("tracked_psnr")
    as_tracked = (
        ""
        if tracked is None
        else f" By tracked poses, corrected by what all corrections have in common alone, they have {tracked:.2f} dB."
    )
    return (
        "<p>The poses of held-out frames were looked up in their pictures, mouth left out; nothing else was learned "
        f"from them.{as_tracked} They are drawn in the light the avatar was trained in; with the one gain for each "
        "colour channel that fits a frame best, which takes out a change of the camera's exposure, they have "
        f"{evaluation.mean('fitted_psnr'):.2f} dB.</p>"
    )


def _curves(history: Sequence[dict[str, Any]]) -> str:
    static_steps = max((p["step"] for p in history if p["stage"] == "static"), default=0)
    bands = [static_steps] if any(p["stage"] != "static" for p in history) and static_steps else []

    def curve(field: str) -> list[tuple[float, float]]:
        shift = {"static": 0, "network": static_steps}
        return [(p["step"] + shift[p["stage"]], p[field]) for p in history if p.get(field) is not None]

    quality = [
        Line("trained frames", curve("psnr"), BLUE, faint=True),
        Line("held-out frames", curve("held_out"), ORANGE),
    ]
    charts = [
        ("PSNR over the person, dB", line_chart(quality, "step", bands=bands)),
        ("Loss", line_chart([Line("loss", curve("loss"), BLUE)], "step", logarithmic=True, bands=bands)),
        ("Parts of the loss", line_chart(_parts(history, curve), "step", logarithmic=True, bands=bands)),
        ("Gaussians", line_chart([Line("Gaussians", curve("gaussians"), GREEN)], "step", bands=bands)),
    ]
    cards = "".join(f'<div class="card"><span>{name}</span>{chart}</div>' for name, chart in charts)
    return f'<div class="two">{cards}</div>'


def _parts(history: Sequence[dict[str, Any]], curve: Any) -> list[Line]:
    colours = {"l1": BLUE, "ssim": ORANGE, "lips": "#ef4444", "eyes": "#8b5cf6", "alpha": GREEN, "perceptual": GREY}
    return [Line(name, curve(name), colour) for name, colour in colours.items() if any(name in p for p in history)]


def _frame(shown: Shown) -> str:
    difference = heat(shown.truth, shown.render)
    figures = [
        (shown.truth, f"filmed, frame {shown.frame} ({shown.block})"),
        (shown.render, f"drawn, {shown.psnr:.2f} dB, SSIM {shown.ssim:.4f}"),
        (difference, "difference"),
    ]
    row = "".join(
        f"<figure>{inline_picture(p, text)}<figcaption>{escape(text)}</figcaption></figure>" for p, text in figures
    )
    mouths = inline_picture(mouth_crop(shown.truth, shown.lips), "mouth filmed") + inline_picture(
        mouth_crop(shown.render, shown.lips), "mouth drawn"
    )
    caption = f"<figcaption>mouth, {shown.mouth_psnr:.2f} dB</figcaption>"
    return f'<div class="frame">{row}<figure><div class="mouths">{mouths}</div>{caption}</figure></div>'


def _scores(evaluation: Evaluation) -> str:
    rows = ["<tr><th>block</th><th>frames</th><th>PSNR</th><th>worst PSNR</th><th>SSIM</th><th>mouth PSNR</th></tr>"]
    for name, scores in (*evaluation.blocks.items(), ("all", evaluation.all)):
        if not scores:
            continue
        block = None if name == "all" else name
        rows.append(
            f"<tr><td>{escape(name)}</td><td>{len(scores)}</td><td>{evaluation.mean('psnr', block):.2f} dB</td>"
            f"<td>{min(s.psnr for s in scores):.2f} dB</td><td>{evaluation.mean('ssim', block):.4f}</td>"
            f"<td>{evaluation.mean('mouth_psnr', block):.2f} dB</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _time(seconds: dict[str, float]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{_clock(value)}</td></tr>" for name, value in seconds.items())
    return f"<table>{rows}<tr><td>all</td><td>{_clock(sum(seconds.values()))}</td></tr></table>"


def _facts(facts: dict[str, str]) -> str:
    return (
        "<table>" + "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in facts.items()) + "</table>"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
