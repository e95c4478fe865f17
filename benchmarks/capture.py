"""How good a capture is: known footage captured from its video alone, and what real videos cost.

    python benchmarks/capture.py --work DISK --seed 301 --seed 302 --seed 303 --json benchmarks/results/capture.json
    python benchmarks/capture.py --work DISK --video talk.mp4

Each --seed is a clip of the synthetic person, drawn, encoded as MP4 and captured from that file; the truth is looked at
afterwards only: head rotation in degrees after removing one constant rotation, blinks (F1 of events), the overlap with
the true masks (IoU of person and head, of all frames together and in the worst one), and landmarks, pixels after
removing a constant of each (the 68 of a mesh lie elsewhere on a face than the true ones). Each --video is anyone's:
frames tracked, reprojection, time and memory. Clips and captures stay in --work and are used again.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import Meanwhile, facts
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

BLINK = 0.5  # closure from which an eye counts as blinking
GAIN = 1.5  # the folder holds 1.5 x the measured closure
APART = 3  # frames by which a found blink may miss the true one, and open frames within one blink
Masks = NDArray[np.bool_]


@click.command(help=__doc__)
@click.option("--work", required=True, type=click.Path(file_okay=False, path_type=Path), help="Clips and captures.")
@click.option("--seed", "seeds", multiple=True, type=int, help="A clip of the synthetic person; may be repeated.")
@click.option("--seconds", default=12.0, show_default=True, help="Length of each of these.")
@click.option("--video", "videos", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--size", default=512, show_default=True)
@click.option("--workers", type=int, help="Threads of a capture [default: one a processor].")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
def main(
    work: Path,
    seeds: tuple[int, ...],
    seconds: float,
    videos: tuple[Path, ...],
    size: int,
    workers: int | None,
    json_path: Path | None,
) -> None:
    """See the module."""
    from being.synthetic import generate

    work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        clip, truth = work / f"synthetic_{seed}.mp4", work / f"synthetic_{seed}_truth"
        if not clip.exists():
            generate(truth, seconds=seconds, seed=seed, size=(512, 512), video=clip)
        folder = work / f"synthetic_{seed}_captured"
        rows.append(
            {
                "clip": f"synthetic, seed {seed}",
                **capture_clip(clip, folder, size, workers),
                **against_truth(truth, folder),
            }
        )
        click.echo(json.dumps(rows[-1]))
    for video in videos:
        rows.append({"clip": video.name, **capture_clip(video, work / f"{video.stem}_captured", size, workers)})
        click.echo(json.dumps(rows[-1]))
    known = [row for row in rows if "rotation_rms_deg" in row]
    result: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "machine": facts(), "clips": rows}
    if known:
        result["synthetic"] = {
            "worst_rotation_rms_deg": max(row["rotation_rms_deg"] for row in known),
            "blink_f1": _f1(
                *(sum(row[name] for row in known) for name in ("blinks_hit", "blinks_found", "blinks_true"))
            ),
            "blinks": sum(row["blinks_true"] for row in known),
            "worst_person_iou": min(row["person_iou"] for row in known),
            "worst_head_iou": min(row["head_iou"] for row in known),
        }
        click.echo(json.dumps(result["synthetic"]))
    if json_path is not None:
        json_path.write_text(json.dumps(result, indent=1) + "\n")


def capture_clip(video: Path, out: Path, size: int, workers: int | None) -> dict[str, Any]:
    """Capture in a process of its own, unless it is there already, and what it said and cost."""
    kept = out.with_suffix(".json")
    if not (out.exists() and kept.exists()):
        watch, begun = Meanwhile(), time.perf_counter()
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            report, cpu_s, peak = pool.submit(_in_this_process, video, out, size, workers).result()
        wall = time.perf_counter() - begun
        frames = report["frames"]
        cost = {
            "wall_s_a_frame": round(wall / frames, 3),
            "cpu_s_a_frame": round(cpu_s / frames, 3),
            "peak_rss_mb": round(peak / 1e6),
            "disk_mb": round(sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6, 1),
            "stolen_percent": watch.report(wall)["stolen_percent"],
        }
        kept.write_text(json.dumps({"report": report, "cost": cost}))
    told = json.loads(kept.read_text())
    names = ("frames", "size", "found", "rms_px", "blinks", "crop", "seconds")
    return {**{name: told["report"][name] for name in names}, **told["cost"]}


def _in_this_process(video: Path, out: Path, size: int, workers: int | None) -> tuple[dict[str, Any], float, int]:
    from being.capture.pipeline import capture

    report = capture(video, out, size=size, workers=workers)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return report.as_json(), used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def against_truth(truth: Path, captured: Path, known_as: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """The capture of a clip beside its truth folder.

    known_as : the frame of the truth that each frame of the capture shows, -1 none; by default the same.
    """
    from being.dataset import Dataset

    known, told = Dataset(truth), Dataset(captured)
    if known_as is None:
        known_as = np.arange(min(known.frames, told.frames))
    ours = np.flatnonzero(known_as >= 0)
    theirs = known_as[ours]
    pairs = list(zip(ours.tolist(), theirs.tolist(), strict=True))
    frames = len(pairs)
    solved = np.stack([told.head_pose(i)[:, :3] for i in ours.tolist()]).astype(np.float64)
    true = np.stack([known.head_pose(i)[:, :3] for i in theirs.tolist()]).astype(np.float64)
    constant = Rotation.from_matrix(true.transpose(0, 2, 1) @ solved).mean().as_matrix()
    apart = Rotation.from_matrix((true @ constant).transpose(0, 2, 1) @ solved).magnitude()
    still = Rotation.from_matrix(true).mean().as_matrix()
    moved = Rotation.from_matrix(still.T @ true).magnitude()
    x0, y0, side = json.loads((captured / "capture.json").read_text())["crop"]
    person, head = np.zeros((frames, 2)), np.zeros((frames, 2))
    for i, (own, other) in enumerate(pairs):
        labels = told.parsing(own)
        square = Image.fromarray(known.parsing(other)[y0 : y0 + side, x0 : x0 + side])
        right = np.asarray(square.resize(labels.shape[::-1], Image.Resampling.NEAREST))
        person[i], head[i] = _overlap(labels > 0, right > 0), _overlap(labels == 1, right == 1)
    corner, scale = np.array((x0, y0)), told.width / side
    marks = np.stack([told.landmarks(own) - (known.landmarks(other) - corner) * scale for own, other in pairs])
    hit, found, there = _blinks(told.eyes[ours] / GAIN > BLINK, known.eyes[theirs] > BLINK)
    return {
        "rotation_rms_deg": _rms_deg(apart),
        "rotation_of_truth_rms_deg": _rms_deg(moved),
        "blinks_true": there,
        "blinks_found": found,
        "blinks_hit": hit,
        "blink_f1": _f1(hit, found, there),
        **_iou("person", person),
        **_iou("head", head),
        "landmarks_rms_px": round(float(np.sqrt(np.square(marks - marks.mean(axis=0)).sum(axis=-1).mean())), 4),
    }


def _rms_deg(angles: NDArray[np.float64]) -> float:
    return round(float(np.degrees(np.sqrt(np.mean(angles**2)))), 3)


def _overlap(one: Masks, other: Masks) -> tuple[int, int]:
    return int((one & other).sum()), int((one | other).sum())


def _iou(name: str, overlaps: NDArray[np.float64]) -> dict[str, float]:
    shared, either = overlaps.sum(axis=0)
    worst = (overlaps[:, 0] / np.maximum(overlaps[:, 1], 1)).min()
    return {f"{name}_iou": round(float(shared / either), 4), f"{name}_iou_worst_frame": round(float(worst), 4)}


def _blinks(found: Masks, true: Masks) -> tuple[int, int, int]:
    """(true blinks that were found, found ones, true ones) of flags by frame."""
    ours, theirs = _events(found), _events(true)
    hit, free = 0, list(ours)
    for first, last in theirs:
        match = next((e for e in free if e[0] <= last + APART and e[1] >= first - APART), None)
        if match is not None:
            free.remove(match)
            hit += 1
    return hit, len(ours), len(theirs)


def _events(flags: Masks) -> list[tuple[int, int]]:
    """First and last frame of every run, with short gaps bridged."""
    events: list[tuple[int, int]] = []
    for index in np.flatnonzero(flags).tolist():
        if events and index - events[-1][1] <= APART:
            events[-1] = events[-1][0], index
        else:
            events.append((index, index))
    return events


def _f1(hit: int, found: int, there: int) -> float:
    return round(2 * hit / max(found + there, 1), 4)


if __name__ == "__main__":
    main()
