"""What `quality.py` shows: the table of its rows, and contact sheets to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from being.dataset import Dataset
from being.training.quality.lip_sync import openings
from being.training.quality.spectrum import box_around

SHEET_FRAMES, SHEET_SIDE = 8, 176
COLUMNS = (
    ("psnr_person", "person dB"), ("psnr_face", "face dB"), ("psnr_mouth", "mouth dB"), ("psnr_eyes", "eyes dB"),
    ("ssim_face", "face SSIM"), ("tracked_psnr_face", "face dB tracked"), ("vgg", "VGG"),
    ("vgg_trained", "VGG trained"), ("vgg_film_step", "VGG of the film's next frame"), ("band_fine", "fine dB"),
    ("band_high", "high dB"), ("mouth_px", "mouth px"), ("all_px", "all px"), ("opening_trained", "open trained"),
    ("opening_inner", "open inside"), ("opening_end", "open end"), ("correlation_inner", "corr inside"),
    ("correlation_end", "corr end"), ("correlation_inner_spoken", "corr inside, spoken"),
    ("correlation_end_spoken", "corr end, spoken"), ("moved_opening_trained", "moved open trained"),
    ("moved_opening_inner", "moved open inside"), ("moved_opening_end", "moved open end"),
    ("moved_correlation_inner", "moved corr inside"), ("moved_correlation_end", "moved corr end"),
    ("moved_spoken_correlation_inner", "moved corr inside, spoken"),
    ("moved_spoken_correlation_end", "moved corr end, spoken"), ("moved_range", "moved range"),
    ("moved_loudness", "moved loud corr"), ("moved_closures", "moved pbm shut"),
    ("moved_scripted_closures", "moved scripted pbm shut"), ("scripted_closures_shut", "scripted pbm shut"),
    ("lids", "lids"), ("moved_lids", "moved lids"), ("moved_lids_trained", "moved lids trained"),
    ("psnr_blink", "blinks, eyes dB"),
    ("speech_range", "speech range"), ("loudness_correlation", "loud corr"),
    ("loudness_lag", "lag"), ("closures_shut", "pbm shut"), ("flicker_head", "flicker"), ("flicker_neck", "neck"),
    ("flicker_torso", "torso"), ("gaussians", "Gaussians"), ("network_ms", "ms"),
    ("steps_a_minute", "steps/min"), ("peak_gb", "GB"), ("reserved_gb", "GB reserved"), ("wall_s", "s"),
)  # fmt: skip


def sheet(out: Path, data: Dataset, rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The film's held-out frames, those with the widest mouths first; below, a row for each training. To look at."""
    works = [out / f"{row['name']}.{row['variant']}.{row['changes'][-1].partition('=')[2]}" for row in rows]
    numbers = {int(p.stem): p.parent.name for block in ("inner", "end") for p in (works[0] / block).glob("*.jpg")}
    marks = {number: data.landmarks(number) for number in numbers}
    wide = sorted(numbers, key=lambda number: -float(openings(marks[number][None])[0]))
    chosen = [wide[i] for i in np.linspace(0, len(wide) - 1, min(SHEET_FRAMES, len(wide))).round().astype(int)]
    page = Image.new("RGB", (SHEET_SIDE * len(chosen), SHEET_SIDE * (len(works) + 1)))
    for across, number in enumerate(chosen):
        box = box_around(marks[number], data.height, data.width)
        shown = [Image.fromarray(data.composited(number))]
        shown += [Image.open(work / numbers[number] / f"{number:05d}.jpg") for work in works]
        for down, image in enumerate(shown):
            place = (across * SHEET_SIDE, down * SHEET_SIDE)
            page.paste(image.crop(box).resize((SHEET_SIDE, SHEET_SIDE), Image.Resampling.LANCZOS), place)
    page.save(path)


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows = [json.loads(path.read_text()) for path in sorted(out.glob("*/row.json"))]
    return sorted(rows, key=lambda row: (row["name"], row["variant"]))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: for each dataset and variant the median over the seeds of every column that was measured."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["name"], row["variant"]), []).append(row)
    shown = [(key, title) for key, title in COLUMNS if any(row.get(key) is not None for row in rows)]
    lines = ["| " + " | ".join(["clip", "variant", "seeds", *(title for _, title in shown)]) + " |"]
    lines.append("|" + " --- |" * (len(shown) + 3))
    for (name, variant), some in groups.items():
        cells = [name, variant, str(len(some))]
        for key, _ in shown:
            values = [row[key] for row in some if row.get(key) is not None]
            cells.append(f"{np.median(values):.4g}" if values else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
