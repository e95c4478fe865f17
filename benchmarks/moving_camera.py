"""What a moving camera costs: the same performance of the synthetic person filmed in a room by five cameras, and with a
cut to another scene and back (the hand's film).

    python benchmarks/moving_camera.py film --work DISK --seconds 12 --film-size 256
    python benchmarks/moving_camera.py capture --work DISK --size 128
    python benchmarks/moving_camera.py train --work DISK --static 400 --network 600
    python benchmarks/moving_camera.py real --work DISK --clip talk.mp4 --moved other.mp4
    python benchmarks/moving_camera.py table --work DISK --json benchmarks/results/moving_camera.json
    python benchmarks/moving_camera.py seeds --work DISK_1 --work DISK_2 --name "captured at 160" --json FILE

`film` and `capture` need being[clone] and a CPU; `train` needs neither PyAV nor mediapipe: copy DISK/*_captured (their
torso_imgs may stay behind), DISK/*_truth.npz and DISK/rows.json to a machine with a GPU and run `train --device cuda`
and `table` there. Truth is looked at after each step only:

- capture: head rotation (degrees, one constant rotation removed), overlap with the true masks, and the halo of the
  mattes: the person cut out and laid over white, black and green, against the same made of the truth, in a band of
  +-4% of the face around the silhouette (mean absolute and mean signed difference, 0 to 255).
- train: held-out PSNR over the person, and the halo of the drawn avatar in held-out frames; `table` compares at equal
  steps, also where --within stopped some earlier, if they were scored on the way.

Each --clip is a real video captured as it is; each --moved one also with a hand's shake, a pan, a zoom and a crop after
the face added to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
from cut_away import AT, LASTS, cut_away, filmed_before
from cutout_edges import halo
from machine import facts
from numpy.typing import NDArray
from PIL import Image

CAMERAS = ("still", "hand", "pan", "zoom", "follow", "cut")
Picture = NDArray[np.uint8]
work_option = click.option("--work", required=True, type=click.Path(file_okay=False, path_type=Path))
only_option = click.option("--camera", "cameras", multiple=True, type=click.Choice(CAMERAS), default=CAMERAS)


@click.group(help=__doc__)
def main() -> None:
    """See the module."""


@main.command()
@work_option
@only_option
@click.option("--seconds", default=12.0, show_default=True)
@click.option("--seed", default=401, show_default=True)
@click.option("--film-size", default=256, show_default=True)
@click.option("--workers", type=int)
def film(work: Path, cameras: tuple[str, ...], seconds: float, seed: int, film_size: int, workers: int | None) -> None:
    """Draw and encode the performance as each camera sees it."""
    from being.synthetic import Performance, generate, plan

    work.mkdir(parents=True, exist_ok=True)
    performance = work / "performance.npz"
    if not performance.exists():
        plan(seconds, seed).save(performance)
    clip = Performance.load(performance)
    for camera in cameras:
        if camera == "cut":
            cut_away(work / "hand.mp4", work / "cut.mp4")
        elif not (work / f"{camera}_truth" / "track_params.pt").exists():
            size = (film_size, film_size)
            video = work / f"{camera}.mp4"
            generate(work / f"{camera}_truth", performance=clip, size=size, video=video, camera=camera, workers=workers)
        click.echo(camera)


@main.command()
@work_option
@only_option
@click.option("--size", default=128, show_default=True)
@click.option("--workers", type=int)
def capture(work: Path, cameras: tuple[str, ...], size: int, workers: int | None) -> None:
    """Capture each film, and look at the truth."""
    from capture import against_truth, capture_clip

    for camera in cameras:
        folder, truth = work / f"{camera}_captured", work / f"{'hand' if camera == 'cut' else camera}_truth"
        costs = capture_clip(work / f"{camera}.mp4", folder, size, workers)
        row = {**costs, **against_truth(truth, folder, truth_frames(folder))}
        told = json.loads((folder / "capture.json").read_text())
        row["background"] = told["background"]
        if camera == "cut":
            row["cuts"], row["cut_was_s"] = told["cuts"], [AT / 25, (AT + LASTS) / 25]
        row["matte_halo"] = matte_halo(folder, truth)
        keep_truth(folder, truth, work / f"{camera}_truth.npz")
        _note(work, camera, "capture", row)


@main.command()
@work_option
@only_option
@click.option("--static", "static_steps", default=400, show_default=True)
@click.option("--network", "network_steps", default=600, show_default=True)
@click.option("--gaussians", default=4000, show_default=True)
@click.option("--batch", default=4, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--score-every", default=0, help="Steps of the network between scores, of 20  [default: at the end only]")
@click.option("--within", type=float, help="Stop each training after so many seconds  [default: never]")
def train(
    work: Path,
    cameras: tuple[str, ...],
    static_steps: int,
    network_steps: int,
    gaussians: int,
    batch: int,
    device: str,
    score_every: int,
    within: float | None,
) -> None:
    """Train an avatar of each capture with the same steps, and look at it in held-out frames."""
    from scored_training import train_scored

    from being.training.config import FitConfig

    config = FitConfig(
        static_steps=static_steps,
        network_steps=network_steps,
        gaussians=gaussians,
        initial_gaussians=gaussians * 3 // 5,
        batch=batch,
        device=device,
    )
    for camera in cameras:
        folders = (work / f"{camera}_captured", work / f"{camera}_truth.npz", work / f"{camera}_run")
        row = train_scored(*folders, config, score_every, within)
        _note(work, camera, "train", {**row, "device": device})


@main.command()
@work_option
@click.option("--clip", "clips", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--moved", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--size", default=256, show_default=True)
@click.option("--workers", type=int)
def real(work: Path, clips: tuple[Path, ...], moved: tuple[Path, ...], size: int, workers: int | None) -> None:
    """Capture real videos, as they are and with a moving camera added."""
    from capture import capture_clip
    from moved_clip import MOTIONS, move

    work.mkdir(parents=True, exist_ok=True)
    jobs = [(path.stem, path) for path in (*clips, *moved)]
    for path in moved:
        for motion in MOTIONS:
            made = work / f"{path.stem}_{motion}.mp4"
            if not made.exists():
                move(path, made, motion)
            jobs.append((made.stem, made))
    for name, path in jobs:
        folder = work / f"{name}_captured"
        row = capture_clip(path, folder, size, workers)
        told = json.loads((folder / "capture.json").read_text())
        row |= {"background": told["background"], "camera_shift_px": round(told["camera_shift_px"], 1)}
        _note(work, name, "real", row)


@main.command()
@work_option
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path))
def table(work: Path, json_path: Path | None) -> None:
    """Everything measured so far beside the still camera."""
    from scored_training import against

    rows = json.loads((work / "rows.json").read_text())
    still = rows.get("still", {})
    for camera in CAMERAS[1:]:
        row = rows.get(camera, {})
        worse: dict[str, float] = {}
        if "capture" in row and "capture" in still:
            for name in ("rotation_rms_deg", "person_iou", "head_iou"):
                worse[name] = round(row["capture"][name] - still["capture"][name], 4)
        if "train" in row and "train" in still:
            worse |= against(row["train"], still["train"])
        if worse:
            row["against_still"] = worse
            click.echo(f"{camera}: {worse}")
    result = {"command": rows.pop("commands"), "machine": facts(), "clips": rows}
    if json_path is not None:
        json_path.write_text(json.dumps(result, indent=1) + "\n")


@main.command()
@click.option("--work", "works", required=True, multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--name", required=True, help="What the films have in common; the key in FILE.")
@click.option("--json", "json_path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Added to.")
def seeds(works: tuple[Path, ...], name: str, json_path: Path) -> None:
    """Films of several seeds in one size: each camera beside the still one of its seed, and medians over the seeds."""
    by_seed: dict[str, dict[str, dict[str, float]]] = {}
    commands: list[str] = []
    for work in works:
        rows = json.loads((work / "rows.json").read_text())
        commands += [command for command in rows.pop("commands") if command not in commands]
        with np.load(work / "still_truth" / "performance.npz") as performance:
            seed = str(int(performance["seed"]))
        by_seed[seed] = {camera: _figures(row, rows["still"]) for camera, row in rows.items()}
    medians: dict[str, dict[str, float]] = {}
    for camera in CAMERAS:
        every = [clips[camera] for clips in by_seed.values() if camera in clips]
        if every:
            names = [figure for figure in every[0] if all(figure in each for each in every)]
            medians[camera] = {figure: round(float(np.median([each[figure] for each in every])), 4) for figure in names}
            medians[camera]["seeds"] = len(every)
            click.echo(f"{camera}: {json.dumps(medians[camera])}")
    result = json.loads(json_path.read_text()) if json_path.exists() else {}
    result[name] = {"command": commands, "machine": facts(), "medians": medians, "by seed": by_seed}
    json_path.write_text(json.dumps(result, indent=1) + "\n")


def _figures(row: dict[str, Any], still: dict[str, Any]) -> dict[str, float]:
    """What is asked of a film: its own figures, and how they differ from those of the still camera."""
    out: dict[str, float] = {}
    for step, names in (("capture", ("rotation_rms_deg", "person_iou", "head_iou")), ("train", ("held_out_psnr",))):
        if step in row and step in still:
            for name in names:
                out[name] = row[step][name]
                out[f"{name} against still"] = round(row[step][name] - still[step][name], 4)
    if "capture" in row:
        out["blink_f1"] = row["capture"]["blink_f1"]
    for step, halos in (("capture", "matte_halo"), ("train", "halo")):
        for screen, (size, signed) in row.get(step, {}).get(halos, {}).items():
            out[f"{step}: edge over {screen}"], out[f"{step}: edge over {screen}, signed"] = size, signed
    return out


def truth_frames(folder: Path) -> NDArray[np.int64]:
    """Which frame of the truth each frame of a capture shows; -1 of the other scene."""
    from being.dataset import Dataset

    frames = np.asarray(Dataset(folder).sound_frames, np.int64)
    return filmed_before(frames) if folder.name == "cut_captured" else frames


def matte_halo(folder: Path, truth: Path) -> dict[str, list[float]]:
    """Of the film as it was cut out, every tenth frame; {} where the capture made no mattes."""
    from being.dataset import Dataset

    told, known = Dataset(folder), Dataset(truth)
    if not told.has_mattes:
        return {}
    crop = json.loads((folder / "capture.json").read_text())["crop"]
    shown = [(i, known_as) for i, known_as in enumerate(truth_frames(folder).tolist()) if known_as >= 0][::10]
    return halo(
        [cut_out(known, known_as, crop, told.width) for _, known_as in shown],
        [cut_out(told, i) for i, _ in shown],
    )


def keep_truth(folder: Path, truth: Path, path: Path) -> None:
    """The true cut-outs of every third held-out frame as the capture has them, for `train` elsewhere."""
    from being.dataset import Dataset

    told, known = Dataset(folder), Dataset(truth)
    crop = json.loads((folder / "capture.json").read_text())["crop"]
    known_as = truth_frames(folder)
    frames = [frame for frame in told.split.val[::3] if known_as[frame] >= 0]
    layers = np.stack([cut_out(known, int(known_as[frame]), crop, told.width) for frame in frames])
    np.savez_compressed(path, frames=np.array(frames), layers=np.clip(np.round(layers), 0, 255).astype(np.uint8))


def cut_out(data: Any, index: int, crop: list[int] | None = None, size: int | None = None) -> NDArray[np.float32]:
    """Premultiplied colour and alpha (H, W, 4), 0 to 255, of a frame of a dataset with mattes; cropped and resized."""
    alpha = data.alpha(index).astype(np.float32)
    behind = data.background.astype(np.float32)
    colour = data.composited(index) - (1 - alpha[..., None] / 255) * behind
    both = np.concatenate([np.clip(colour, 0, 255), alpha[..., None]], -1)
    if crop is None or size is None:
        return both
    x0, y0, side = crop
    channels = [Image.fromarray(both[y0 : y0 + side, x0 : x0 + side, k], "F") for k in range(4)]
    return np.stack([np.asarray(each.resize((size, size), Image.Resampling.BOX)) for each in channels], -1)


def _note(work: Path, name: str, step: str, row: dict[str, Any]) -> None:
    """Keep a row, and the commands that made them all."""
    path = work / "rows.json"
    rows = json.loads(path.read_text()) if path.exists() else {"commands": []}
    command = " ".join(["python", *sys.argv])
    if command not in rows["commands"]:
        rows["commands"].append(command)
    rows.setdefault(name, {})[step] = row
    path.write_text(json.dumps(rows, indent=1))
    click.echo(json.dumps({"clip": name, step: row}))


if __name__ == "__main__":
    main()
