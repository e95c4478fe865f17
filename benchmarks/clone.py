"""How good a clone is: everything that is asked of `being clone`, measured on footage that was captured before.

In two parts, because the host with the GPU need not have PyAV, MediaPipe or Ray:

    python benchmarks/clone.py train FOOTAGE ... --out clones --minutes 8 --speech speech.wav   # where the GPU is
    python benchmarks/clone.py measure clones --speech speech.wav                               # where MediaPipe is

`train` trains one avatar for each dataset folder within --minutes, scores the two held-out blocks inside the person,
compares the torso under three different speeches over the same motion, and saves frames: filmed, drawn and their error
for both blocks, and the avatar speaking --speech and then being silent, in one pose (to be measured) and moving (to be
looked at). `measure` looks at those frames with the face mesh: mouth landmarks, the mouth's opening against the filmed
one and against the loudness, and how far it shuts in silence; it also writes videos with sound. Both write
OUT/NAME/clone.json. Pictures of people stay in OUT: never commit it.

--set overrides a field of the training configuration, to compare: --set corrections.pose=0 --set pretrained=none;
nothing behind the = is None: --set minutes= --set network_steps=2500 trains by steps.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from loudness import correlation, decibels, loudness
from numpy.typing import NDArray
from PIL import Image

from being.audio.windows import frame_count
from being.avatar.motion import Motion
from being.constants import FPS, SAMPLE_RATE
from being.dataset import Dataset
from being.dataset.sound import read_wav
from being.progress import show_progress
from being.training import FitConfig, fit
from being.training.data.footage import Footage
from being.training.data.speech import Speech, listen
from being.training.defaults import config_for
from being.training.fit import choose_device
from being.training.model.drawing import RenderSettings
from being.training.quality.evaluate import draw_frame
from being.training.quality.lip_sync import compare, openings, track
from being.training.quality.novel_speech import (
    contexts_of,
    flicker,
    sample_sentence,
    speak,
    talking_in,
    three_speeches,
    write_clip,
)
from being.training.report import heat

SILENCE_S = 3.0  # after the speech
SETTLED = 8  # frames a mouth may take to shut
HELD_QUALITY, QUALITY = 95, 85  # of the saved JPEGs
Picture = NDArray[np.uint8]


@click.group(help=__doc__)
def main() -> None:
    """See the module."""


@main.command()
@click.argument("footage", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for everything.")
@click.option("--minutes", default=8.0, show_default=True, help="Training budget for each.")
@click.option("--speech", type=click.Path(exists=True, path_type=Path), help="16 kHz WAV nobody was trained on.")
@click.option("--device", default="auto", show_default=True)
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Override the configuration.")
def train(
    footage: tuple[Path, ...], out: Path, minutes: float, speech: Path | None, device: str, changes: tuple[str, ...]
) -> None:
    """Train an avatar for each dataset folder, score it, save its frames."""
    pcm = sample_sentence() if speech is None else read_wav(speech)
    for folder in footage:
        name, work = folder.name.lower(), out / folder.name.lower()
        config = changed(config_for(Dataset(folder), device, minutes), changes)
        start = time.perf_counter()
        with show_progress() as progress:
            progress.note(f"clone {folder}")
            result = fit(folder, out / "avatars" / name, config, progress, work=work, replace=True, restart=True)
        if result.stopped:
            raise click.Abort
        figures = json.loads((work / "metrics.json").read_text())
        row: dict[str, Any] = {
            "name": name,
            "minutes_asked": minutes,
            "wall_s": round(time.perf_counter() - start, 1),
            "device": device_name(config),
            "changes": list(changes),
            "seconds": figures["seconds"],
            "metrics": figures["metrics"],
            "assessment": figures["assessment"],
            "bytes": sum(path.stat().st_size for path in (out / "avatars" / name).iterdir()),
        }
        row |= save_frames(folder, out / "avatars" / name, work, config, pcm)
        (work / "clone.json").write_text(json.dumps(row, indent=1))
        click.echo(json.dumps(row, indent=1))


def changed(config: FitConfig, changes: Sequence[str]) -> FitConfig:
    """The configuration with fields overridden: "corrections.pose=0"."""
    tree = config.model_dump()
    for change in changes:
        path, _, value = change.partition("=")
        *parents, field = path.split(".")
        level = tree
        for parent in parents:
            level = level[parent]
        if field not in level:
            raise click.UsageError(f"the configuration has no field {path!r}")
        level[field] = tuple(filter(None, value.split(","))) if isinstance(level[field], tuple) else value or None
    return FitConfig.model_validate(tree)


def device_name(config: FitConfig) -> str:
    device, precision = choose_device(config)
    return f"{torch.cuda.get_device_name(device)}, {precision}" if device.type == "cuda" else "CPU"


def save_frames(
    folder: Path, avatar_folder: Path, work: Path, config: FitConfig, pcm: NDArray[np.float32]
) -> dict[str, Any]:
    """Held-out frames, flicker under three parts of the sound, and the sound spoken; figures for the row."""
    from being.avatar.folder import load_avatar

    device, precision = choose_device(config)
    data, avatar = Dataset(folder), load_avatar(avatar_folder)
    heard = listen(data, config, work)
    footage = Footage(data, heard.contexts, config, device, quiet=heard.quiet)
    footage.adopt(
        torch.from_numpy(avatar.motion.head_pose).to(device), torch.from_numpy(avatar.motion.torso_pose).to(device)
    )
    settings = RenderSettings(footage.background, footage.intrinsics, config.backend, precision)
    gaussians, network = avatar.gaussians.to(device), avatar.network.to(device)
    for block, frames in (("inner", footage.held_out.inner), ("end", footage.held_out.end)):
        place = emptied(work / "held_out" / block)
        for frame in frames:
            drawn, filmed = draw_frame(gaussians, network, footage, settings, frame), footage.picture(frame)
            Image.fromarray(filmed).save(place / f"filmed_{frame:05d}.jpg", quality=HELD_QUALITY)
            Image.fromarray(drawn).save(place / f"drawn_{frame:05d}.jpg", quality=HELD_QUALITY)
            Image.fromarray(heat(filmed, drawn)).save(place / f"error_{frame:05d}.jpg", quality=QUALITY)

    third = len(pcm) // 3
    parts = [pcm[k * third : (k + 1) * third] for k in range(3)] if third > SAMPLE_RATE else three_speeches(pcm)
    unsteady = flicker(gaussians, network, footage, settings, [contexts(heard, part) for part in parts])

    sound = with_silence(pcm)
    voice = contexts(heard, sound)
    talking = talking_in(sound, len(voice))
    motion = avatar.motion
    usual = footage.train[len(footage.train) // 2]
    parts = (motion.head_pose, motion.torso_pose, 0 * motion.eye, motion.talking, motion.emotion)
    still = Motion(*(np.repeat(part[usual : usual + 1], 50, 0) for part in parts))
    for name, moves in (("still", still), ("moving", motion)):
        place = emptied(work / name)
        for index, frame in enumerate(speak(gaussians, network, footage, settings, voice, moves, talking)):
            Image.fromarray(frame).save(place / f"{index:05d}.jpg", quality=QUALITY)
    blocks = {"inner": len(footage.held_out.inner), "end": len(footage.held_out.end)}
    return {"held_out_frames": blocks, "flicker_grey_levels": vars(unsteady), "spoken_frames": len(voice)}


def contexts(heard: Speech, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    found = contexts_of(heard, pcm, frame_count(len(pcm)))
    if found is None:
        raise click.ClickException(f"{heard.spec.name} cannot hear new sound")
    return found


def with_silence(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([pcm, np.zeros(round(SILENCE_S * SAMPLE_RATE), np.float32)])


def emptied(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder


@main.command()
@click.argument("out", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--speech", type=click.Path(exists=True, path_type=Path), help="The WAV that `train` was given.")
def measure(out: Path, speech: Path | None) -> None:
    """Look at the saved frames with the face mesh; write videos."""
    pcm = sample_sentence() if speech is None else read_wav(speech)
    for path in sorted(out.glob("*/clone.json")):
        work = path.parent
        row = json.loads(path.read_text())
        blocks = [
            (
                list(pictures(work / "held_out" / block, "filmed_*.jpg")),
                list(pictures(work / "held_out" / block, "drawn_*.jpg")),
            )
            for block in ("inner", "end")
        ]
        row["lip_sync"] = vars(compare(blocks))
        row["lip_sync_by_block"] = {
            name: vars(compare([block])) for name, block in zip(("inner", "end"), blocks, strict=True) if block[0]
        }
        row["speech"] = listen_and_look(list(pictures(work / "still", "*.jpg")), pcm)
        for name in ("still", "moving"):
            write_clip(work / f"{name}.mp4", list(pictures(work / name, "*.jpg")), with_silence(pcm))
        sheet(work)
        path.write_text(json.dumps(row, indent=1))
        click.echo(json.dumps(row, indent=1))


def listen_and_look(frames: Sequence[Picture], pcm: NDArray[np.float32]) -> dict[str, float]:
    """Does the mouth follow the loudness, with which lag, and does it shut in the silence after the speech?"""
    marks, found = track(frames)
    gap = openings(marks).astype(np.float64)
    spoken = min(len(pcm) * FPS // SAMPLE_RATE, len(gap))
    level = decibels(loudness(pcm, spoken))
    scores = {lag: correlation(gap[:spoken], level, lag) for lag in range(-8, 9)}
    lag = max(scores, key=lambda k: scores[k])
    talking = float(np.percentile(gap[:spoken], 99.5))
    return {
        "loudness_correlation": scores[lag],
        "lag_frames": lag,
        "face_found": float(found.mean()),
        "talking_max": talking,
        "talking_range": float(np.percentile(gap[:spoken], 95) - np.percentile(gap[:spoken], 5)),
        "silence_share_of_max": float(gap[spoken + SETTLED :].max() / talking) if len(gap) > spoken + SETTLED else -1.0,
    }


def pictures(folder: Path, pattern: str) -> Iterator[Picture]:
    for path in sorted(folder.glob(pattern)):
        with Image.open(path) as image:
            yield np.asarray(image.convert("RGB"))


def sheet(work: Path, columns: int = 8) -> None:
    """sheet.png: of each block frames filmed, drawn and wrong; below, frames of the speech. To be looked at."""
    rows = []
    for block in ("inner", "end"):
        for kind in ("filmed", "drawn", "error"):
            rows.append(list(pictures(work / "held_out" / block, f"{kind}_*.jpg")))
    spoken = list(pictures(work / "moving", "*.jpg"))
    rows += [spoken[: len(spoken) // 2], spoken[len(spoken) // 2 :]]
    side = 224
    page = Image.new("RGB", (columns * side, len(rows) * side))
    for down, row in enumerate(rows):
        for across, index in enumerate(np.linspace(0, len(row) - 1, columns).round().astype(int) if row else []):
            page.paste(Image.fromarray(row[index]).resize((side, side)), (across * side, down * side))
    page.save(work / "sheet.png")


if __name__ == "__main__":
    main()
