"""The report of a capture: one HTML file that needs nothing else, to see at a glance whether the footage will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from being.capture.background.found import FILMED, LAID_TOGETHER
from being.capture.cut_page import cut_section
from being.capture.findings import BLINK, CaptureReport
from being.capture.landmarks.tracking import Track, ibug_68
from being.capture.parsing.teeth import lips_apart
from being.capture.pose.solve import PoseSolution
from being.constants import FPS
from being.dataset.folder import read_picture
from being.dataset.parsing import PALETTE, labels_of_colours
from being.dataset.tracking import shown_by
from being.report.charts import Line, line_chart
from being.report.page import inline_picture, page

Picture = NDArray[np.uint8]

SHOWN = 4  # sample frames, beside those where eyes, mouth, cheeks or brows go farthest
SHOWN_SIDE = 360  # pixels
MASK_OPACITY = 0.38
AXIS_DM = 0.8  # length of the drawn axes
AXIS_COLOURS = ("#ef4444", "#22c55e", "#3b82f6")  # x to the right, y up, z to the viewer
UNSEEN_TINT = (255, 0, 255)
MATTES, SCREEN = 3, (0, 177, 64)  # frames shown cut out, before the green of a studio
BLUE, ORANGE, GREEN = "#3b82f6", "#f59e0b", "#10b981"

_STYLE = """
h1 { font-size: 30px; margin: 0 0 4px; letter-spacing: -.02em; } h2 { font-size: 18px; margin: 40px 0 12px; }
p, li { color: var(--soft); max-width: 80ch; } li b { color: var(--ink); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px; margin-top: 24px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; }
.card b { display: block; font-size: 24px; letter-spacing: -.02em; } .card span { color: var(--soft); font-size: 13px; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 12px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 12px; }
figure { margin: 0; } img { width: 100%; display: block; border-radius: 8px; }
figcaption { color: var(--soft); font-size: 12px; margin-top: 4px; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; display: block; } .grid { stroke: var(--line); }
.tick { fill: var(--soft); font-size: 11px; } .band { stroke: var(--soft); stroke-dasharray: 3 4; }
table { border-collapse: collapse; background: var(--card); border-radius: 12px; }
td { padding: 6px 14px; border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
"""


def write_report(
    path: Path,
    report: CaptureReport,
    folder: Path,
    track: Track,
    pose: PoseSolution,
    closure: NDArray[np.float32],
    units: Mapping[str, NDArray[np.float32]],
    seen: NDArray[np.bool_],
) -> None:
    """Write the page to `path`.

    Parameters
    ----------
    folder : where the pictures stand now. track, closure : of the T pictures. units : action units (T,) by column.
    seen : (H, W) of the plate.
    """
    spread = np.linspace(0, report.frames - 1, SHOWN).round().astype(int)
    named = dict.fromkeys(spread.tolist(), "")
    shown = shown_by(units)
    extremes = (
        (closure, "eyes most shut, "),
        (lips_apart(track.points), "mouth widest, teeth white, "),
        (shown["smile"], "cheeks highest, "),
        (shown["brows_up"], "brows highest, "),
    )
    for values, name in extremes:
        index = int(np.where(track.found, values, -1).argmax())
        named[index] = named.get(index, "") + name
    marks = ibug_68(track.points)
    seconds = report.times
    figures = "".join(_sample(folder, i, seconds[i], marks[i], pose, named[i]) for i in sorted(named))
    turn, errors = _turned(pose), pose.per_frame_rms
    charts = [
        _chart("Eyes shut", [("closure", closure, BLUE)], seconds),
        _chart("Mouth opening, face lengths", [("inner lips", lips_apart(track.points), ORANGE)], seconds),
        _chart(
            "Above the lips, intensity 0 to 5",
            [
                ("smile (AU06)", shown["smile"], ORANGE),
                ("brows up (AU01, AU02)", shown["brows_up"], BLUE),
                ("frown (AU04)", shown["frown"], GREEN),
            ],
            seconds,
        ),
        _chart("Head turn, degrees", [("up/down", turn[:, 0], GREEN), ("left/right", turn[:, 1], BLUE)], seconds),
        _chart("Reprojection error, pixels", [("RMS of the frame", errors, ORANGE)], seconds),
    ]
    body = [
        f"<h1>{escape(report.folder.name)}</h1><p>{report.frames / FPS:.1f} s of footage, captured.</p>",
        _cards(report),
        "<h2>What to know</h2>" + _warnings(report),
        _notes(report),
        cut_section(report),
        "<h2>Sample frames</h2><p>Head blue, neck green, torso red; the 68 landmarks; the head's axes: red to the "
        f'image\'s right, green up, blue towards the camera.</p><div class="frames">{figures}</div>',
        *_behind(report, folder, seen),
        f'<h2>Over time</h2><div class="two">{"".join(charts)}</div>',
        "<h2>Time</h2><table>"
        + "".join(f"<tr><td>{escape(k)}</td><td>{v:.1f} s</td></tr>" for k, v in report.seconds.items())
        + "</table>",
    ]
    path.write_text(page(report.folder.name, _STYLE, body), "utf-8")


def draw_overlay(
    image: Picture, labels: Picture, marks: NDArray[np.float32], index: int, pose: PoseSolution
) -> Picture:
    """RGB (H, W, 3) with labels (H, W) as colours, landmarks (68, 2) as dots, and the head's axes of frame `index`."""
    tint = np.where((labels > 0)[..., None], PALETTE[labels], image).astype(np.float32)
    canvas = Image.fromarray(np.round(image + MASK_OPACITY * (tint - image)).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    dot = max(1.0, image.shape[0] / 400)
    for x, y in marks:
        draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill="#fde047")
    tips = np.vstack([np.zeros(3), AXIS_DM * np.eye(3)]) @ pose.poses[index, :, :3].T + pose.poses[index, :, 3]
    pixels = pose.focal * tips[:, :2] / tips[:, 2:] + (pose.cx, pose.cy)
    for tip, colour in zip(pixels[1:], AXIS_COLOURS, strict=True):
        draw.line((*pixels[0], *tip), fill=colour, width=max(2, image.shape[0] // 170))
    return np.asarray(canvas)


def _sample(folder: Path, index: int, at_s: float, marks: NDArray[np.float32], pose: PoseSolution, name: str) -> str:
    image = read_picture(folder / "ori_imgs" / f"{index}.png")
    labels = labels_of_colours(read_picture(folder / "parsing" / f"{index}.png"))
    shown = draw_overlay(image, labels, marks, index, pose).copy()
    teeth = folder / "teeth_mask" / f"{index}.npy"
    if name and teeth.exists():
        shown[np.load(teeth)] = 255
    error = pose.per_frame_rms[index]
    caption = f"{name}frame {index}, {at_s:.1f} s, " + (f"{error:.2f} px" if np.isfinite(error) else "no face found")
    return _figure(shown, caption)


def _behind(report: CaptureReport, folder: Path, seen: NDArray[np.bool_]) -> list[str]:
    """The plate and where it was seen; where it is made, the mattes that take the person out."""
    title = "<h2>Behind the person</h2>"
    if report.background == FILMED:
        note = "<p>The plate; at the right, what was never seen and is a guess is tinted.</p>"
        return [title + note, f'<div class="two">{_plates(folder, seen)}</div>']
    figures = _figure(read_picture(folder / "bc.png"), f"bc.png, {report.background}")
    if report.background == LAID_TOGETHER:
        figures = _plates(folder, seen)
    for index in np.linspace(0, report.frames - 1, MATTES).round().astype(int).tolist():
        alpha = read_picture(folder / "alpha" / f"{index}.png", "L")[..., None] / 255
        behind = read_picture(folder / "bc.png").astype(np.float32)
        person = read_picture(folder / "gt_imgs" / f"{index}.png") - (1 - alpha) * behind
        green = np.clip(person + (1 - alpha) * np.array(SCREEN), 0, 255).astype(np.uint8)
        figures += _figure(green, f"frame {index}, cut out")
    note = f"<p>The plate ({escape(report.background)}), and the person cut out of single frames.</p>"
    return [title + note, f'<div class="frames">{figures}</div>']


def _plates(folder: Path, seen: NDArray[np.bool_]) -> str:
    plate = read_picture(folder / "bc.png")
    tinted = np.where(seen[..., None], plate, (plate * 0.5 + np.array(UNSEEN_TINT) * 0.5)).astype(np.uint8)
    return _figure(plate, "bc.png") + _figure(tinted, f"{seen.mean():.0%} of it was seen")


def _figure(rgb: Picture, caption: str) -> str:
    image = Image.fromarray(rgb)
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    shown = inline_picture(np.asarray(image), caption, quality=88)
    return f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>"


def _chart(title: str, curves: Sequence[tuple[str, NDArray[np.floating], str]], seconds: NDArray[np.float64]) -> str:
    every = max(1, len(seconds) // 1500)
    lines = [
        Line(name, [(float(x), float(y)) for x, y in zip(seconds[::every], values[::every], strict=True)], colour)
        for name, values, colour in curves
    ]
    return f"<figure><b>{escape(title)}</b>{line_chart(lines, 'seconds')}</figure>"


def _turned(pose: PoseSolution) -> NDArray[np.float64]:
    from being.dataset.pose import euler_of_rotation

    return np.degrees(euler_of_rotation(np.diag([1.0, -1.0, -1.0]) @ pose.poses[:, :, :3]))


def _cards(report: CaptureReport) -> str:
    cards = [
        (f"{report.frames}", "frames"),
        (f"{report.found:.1%}", "with a face"),
        (f"{report.rms_px:.2f} px", "reprojection RMS"),
        (f"{report.blinks}", f"blinks (over {BLINK:g} shut)"),
        (f"{report.mouth_open:.0%}", "widest mouth, of the face's length"),
        (f"{report.seen:.0%}", "of the background seen"),
        (f"{report.camera_shift_px:.1f} px", "sway of the background"),
        (f"{report.focal:.0f} px", "focal length"),
    ]
    tiles = "".join(f'<div class="card"><b>{value}</b><span>{escape(name)}</span></div>' for value, name in cards)
    return f'<div class="cards">{tiles}</div>'


def _warnings(report: CaptureReport) -> str:
    if not report.warnings:
        return "<p>Nothing to complain about.</p>"
    items = "".join(f"<li><b>{escape(w.problem)}.</b> {escape(w.remedy)}.</li>" for w in report.warnings)
    return f"<ul>{items}</ul>"


def _notes(report: CaptureReport) -> str:
    if not report.notes:
        return ""
    items = "".join(f"<li>{escape(str(note))}</li>" for note in report.notes)
    return f"<h2>Repaired and chosen</h2><ul>{items}</ul>"
