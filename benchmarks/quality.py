"""How good the pictures are: named datasets trained with several seeds, and the table of what came of it.

In two parts, because the host with the GPU need not have MediaPipe:

    python benchmarks/quality.py train FOOTAGE ... --out out --seeds 0,1,2 --vgg vgg16.safetensors  # where the GPU is
    python benchmarks/quality.py measure out --footage FOLDER_OF_FOOTAGE                            # where MediaPipe is

`train` trains every dataset folder with every seed as `being clone` would (`--minutes` on the clock), `--together` of
them side by side, and scores the two held-out blocks by tracked and by looked-up poses: PSNR and SSIM of person, face
(inside the landmarks' hull), mouth and eyes; distance of VGG-16 features inside the face's box (with --vgg), beside it
that of trained frames and of the film's frames to the film's next, which is what 40 ms change; power of the face by
spatial frequency, dB against the film's; flicker of head, neck and torso under three speeches; Gaussians, milliseconds
a step, steps a minute, peak memory. It saves what was drawn. `measure` looks at that with the face mesh:
mouth and all landmarks; the 95th percentile of the mouth's opening as a share of the film's and its correlation with
the film's, on trained frames, inside and at the end; on speech that is not in the footage the correlation with the
loudness, its lag, the range of the opening, and in how many p, b, m the lips shut: as `phones` hears them, which takes
some sounds of a real voice for one, or, of a --script, as espeak-ng spoke them (`scripted`). The same of the
deformation alone (`moved`, see `being.training.quality.lip_opening`) needs no face mesh; `spoken` counts the frames
with speech in them, as in silence held-out lips part because the network is told so (`lips_parted`). How far the lids
shut in blinks, as a share of the film's, is told in the same two ways (`lids` of all frames kept, `moved_lids` of
held-out blinks and of trained ones), and the eye boxes' PSNR in frames with shut eyes, trained ones where none is held
out. Both print the table; `measure` writes OUT/table.json and a contact sheet for each dataset, OUT/NAME.png. Pictures
of people stay in OUT: never commit it.

A script is a clip of voices that nobody was trained on, planned where espeak-ng is:

    python -m being.synthetic plan script.npz --seconds 20 --seed 8 --voice gmw/en-US+f4 --voice gmw/en-US+m7 \\
      --voice gmw/en-GB-x-rp+Annie --voice gmw/en-US+Michael

--variant NAME or "NAME:FIELD=VALUE FIELD=VALUE" trains with other settings, each beside the others.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from clone import changed, contexts, device_name, emptied
from loudness import correlation, decibels, loudness
from numpy.typing import NDArray
from PIL import Image
from quality_table import rows_of, sheet, table

from being.audio.extractors import load_extractor
from being.audio.features import STEPS_PER_FRAME, FeatureSpec
from being.audio.phones import NAMES
from being.avatar.folder import load_avatar
from being.avatar.motion import Motion
from being.constants import FPS, SAMPLE_RATE
from being.dataset import Dataset
from being.dataset.sound import read_wav
from being.progress import show_progress
from being.synthetic import Performance
from being.training import fit
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.data.speech import listen
from being.training.defaults import config_for
from being.training.fit import choose_device
from being.training.loss.perceptual import Perceptual
from being.training.model.drawing import RenderSettings
from being.training.model.lid_motion import LidMotion
from being.training.model.lip_motion import LipMotion
from being.training.quality.evaluate import draw_frame
from being.training.quality.lid_closing import SHUT as SHUT_EYE
from being.training.quality.lid_closing import LidClosing, closing_share, lid_gaps
from being.training.quality.lip_opening import SPOKEN, LipOpening, opening_scores
from being.training.quality.lip_sync import of_landmarks, openings, track
from being.training.quality.novel_speech import flicker, sample_sentence, speak, talking_in
from being.training.quality.regions import region_scores
from being.training.quality.spectrum import box_around
from being.training.quality.tracked_poses import adopt_tracked

TRAINED_FRAMES = 150  # of the training frames, from the first on: how wide the mouth opens where it was taught
SMALL = 2  # trained and spoken frames are kept at a half of their size: enough to see how far a mouth is open
CLOSED = 0.5  # posterior of p, b, m from which the lips ought to be shut
SHUT_SHARE = 0.2  # of the film's range from its narrowest openings on that still counts as shut lips
SHUT = 0.02  # opening over the eyes' distance of shut lips
QUALITY = 95  # of the JPEGs kept
Picture = NDArray[np.uint8]


@click.group(help=__doc__)
def main() -> None:
    """See the module."""


@main.command()
@click.argument("footage", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for everything.")
@click.option("--seeds", default="0", show_default=True, help="Seeds, with commas between.")
@click.option("--minutes", default=8.0, show_default=True, help="Training budget for each.")
@click.option("--variant", "variants", multiple=True, default=("now",), show_default=True)
@click.option("--together", default=1, show_default=True, help="Trainings side by side.")
@click.option("--speech", type=click.Path(exists=True, path_type=Path), help="16 kHz WAV nobody was trained on.")
@click.option("--script", type=click.Path(exists=True, path_type=Path), help="The same with known phones (.npz).")
@click.option("--vgg", type=click.Path(exists=True, path_type=Path), help="VGG-16 weights, for the distance only.")
@click.option("--device", default="auto", show_default=True)
def train(
    footage: tuple[Path, ...],
    out: Path,
    seeds: str,
    minutes: float,
    variants: tuple[str, ...],
    together: int,
    speech: Path | None,
    script: Path | None,
    vgg: Path | None,
    device: str,
) -> None:
    """Train, score, save frames. What was stopped goes on when asked for again, what is there is not made again."""
    if vgg is None:
        click.echo("VGG distance left out: no weights were given (--vgg)")
    waiting = []
    for variant in variants:
        name, _, changes = variant.partition(":")
        for folder in footage:
            for seed in seeds.split(","):
                work = out / f"{folder.name.lower()}.{name}.{seed}"
                job: dict[str, Any] = {
                    "folder": str(folder),
                    "variant": name,
                    "changes": [*changes.split(), f"seed={seed}"],
                }
                job |= {"minutes": minutes, "device": device}
                job |= {"speech": speech and str(speech), "vgg": vgg and str(vgg)}
                if script is not None:
                    job["script"] = str(script)
                asked, told = work / "job.json", json.dumps(job)
                if not asked.exists() or asked.read_text() != told:
                    shutil.rmtree(work, ignore_errors=True)
                if (work / "row.json").exists():
                    continue
                work.mkdir(parents=True, exist_ok=True)
                asked.write_text(told)
                waiting.append(work)
    running: dict[Path, subprocess.Popen[bytes]] = {}
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // max(1, min(together, len(waiting)))))}
    while waiting or running:
        while waiting and len(running) < together:
            work = waiting.pop(0)
            with (work / "log.txt").open("wb") as log:
                command = [sys.executable, __file__, "job", str(work)]
                running[work] = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **threads})
        time.sleep(0.2)
        for work, process in list(running.items()):
            if process.poll() is not None:
                del running[work]
                last = "" if process.returncode == 0 else (work / "log.txt").read_text()[-1500:]
                click.echo(f"{work.name}: {'done' if process.returncode == 0 else 'failed'} {last}")
    click.echo(table(rows_of(out)))


@main.command(hidden=True)
@click.argument("work", type=click.Path(exists=True, path_type=Path))
def job(work: Path) -> None:
    """One training, in a process of its own."""
    asked: dict[str, Any] = json.loads((work / "job.json").read_text())
    folder, start = Path(asked["folder"]), time.perf_counter()
    config = changed(config_for(Dataset(folder), asked["device"], asked["minutes"]), asked["changes"])
    config = config.model_copy(update={"quality_suite": False})
    with show_progress() as progress:
        result = fit(folder, work / "avatar", config, progress, work=work / "run", replace=True)
    if result.stopped:
        raise click.Abort
    wall = time.perf_counter() - start
    document = json.loads((work / "run" / "metrics.json").read_text())
    row: dict[str, Any] = {
        "name": folder.name.lower(),
        "variant": asked["variant"],
        "changes": asked["changes"],
        "device": device_name(config),
        "wall_s": round(wall, 1),
        "seconds": document["seconds"],
        "steps": document["steps"],
        "smoothing": document["smoothing"],
        "bytes": sum(path.stat().st_size for path in (work / "avatar").iterdir()),
        "host_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    if torch.cuda.is_available():
        row["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        row["reserved_gb"] = torch.cuda.max_memory_reserved() / 1e9
    for stage, steps in document["steps"].items():
        row[f"{stage}_ms"] = 1e3 * document["seconds"][stage] / max(steps, 1)
    row["steps_a_minute"] = 60e3 / row["network_ms"] if "network_ms" in row else None
    row |= scored(folder, work, config, asked)
    (work / "row.json").write_text(json.dumps(row, indent=1))


def scored(folder: Path, work: Path, config: FitConfig, asked: dict[str, Any]) -> dict[str, Any]:
    """Scores of the finished avatar; what it draws goes into `work`."""
    device, precision = choose_device(config)
    data, avatar = Dataset(folder), load_avatar(work / "avatar")
    heard = listen(data, config, work / "run")
    footage = Footage(data, heard.contexts, config, device, quiet=heard.quiet)
    settings = RenderSettings(footage.background, footage.intrinsics, config.backend, precision)
    gaussians, network = avatar.gaussians.to(device), avatar.network.to(device)
    perceptual = Perceptual(Path(asked["vgg"])).to(device) if asked["vgg"] else None
    blocks = {"inner": footage.held_out.inner, "end": footage.held_out.end}
    lips, lids = LipMotion(footage), LidMotion(footage)
    corrected = [torch.from_numpy(p).to(device) for p in (avatar.motion.head_pose, avatar.motion.torso_pose)]
    adopt_tracked(footage, corrected)
    tracked, _ = region_scores(gaussians, network, footage, settings, footage.held_out.all, perceptual)
    footage.adopt(*corrected)
    scores, _ = region_scores(gaussians, network, footage, settings, footage.held_out.all, perceptual)
    row: dict[str, Any] = {**scores, **{f"tracked_{name}": value for name, value in tracked.items()}}
    row["gaussians"] = gaussians.count
    for name, frames in blocks.items():
        row[name], drawn = region_scores(gaussians, network, footage, settings, frames, perceptual)
        keep(work / name, dict(zip(frames, drawn, strict=True)))
    trained = footage.train[:TRAINED_FRAMES]
    sampled = trained[:: max(1, len(trained) // 24)]
    row["trained"], _ = region_scores(gaussians, network, footage, settings, sampled, perceptual)
    if perceptual is not None:
        row["vgg_trained"] = row["trained"]["vgg"]
        row["vgg_film_step"] = film_step(footage, footage.held_out.all, perceptual)
    shown = {frame: draw_frame(gaussians, network, footage, settings, frame) for frame in trained}
    keep(work / "trained", shown, SMALL)

    pcm = sample_sentence() if asked["speech"] is None else read_wav(Path(asked["speech"]))
    third = len(pcm) // 3
    voices = [contexts(heard, pcm[k * third : (k + 1) * third]) for k in range(3)]
    opening = LipOpening(network, footage, lips)
    for name, frames in {**blocks, "trained": footage.train}.items():
        row |= {f"moved_{key}_{name}": value for key, value in opening_scores(opening, frames, heard.quiet).items()}
    np.save(work / "quiet.npy", heard.quiet)
    closing = LidClosing(network, footage, lids)
    row["moved_lids"], row["moved_lids_trained"] = (
        closing.share(frames) for frames in (footage.held_out.all, footage.train)
    )
    closure = footage.closure[:, 0].cpu().numpy()
    blinks = [[f for f in frames if closure[f] >= SHUT_EYE] for frames in (footage.held_out.all, footage.train)]
    if shut_eyes := blinks[0] or blinks[1]:
        row["psnr_blink"] = region_scores(gaussians, network, footage, settings, shut_eyes)[0]["psnr_eyes"]
    unsteady = flicker(gaussians, network, footage, settings, voices)
    row |= {f"flicker_{part}": value for part, value in vars(unsteady).items()}
    usual, motion = footage.train[len(footage.train) // 2], avatar.motion
    parts = (motion.head_pose, motion.torso_pose, 0 * motion.eye, motion.talking, motion.emotion)
    still = Motion(*(np.repeat(part[usual : usual + 1], 50, 0) for part in parts))

    def says(sound: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        """Draw and keep what is said; how far it opens the mouth."""
        voice = contexts(heard, sound)
        said = speak(gaussians, network, footage, settings, voice, still, talking_in(sound, len(voice)))
        keep(work / name, dict(enumerate(said)), SMALL)
        return opening.of_speech(torch.from_numpy(voice).to(device), usual)

    moved = says(pcm, "spoken")
    film = opening.filmed[list(footage.train)]
    row["moved_range"] = float(np.ptp(np.percentile(moved, (5, 95))) / np.ptp(np.percentile(film, (5, 95))))
    level = decibels(loudness(pcm, len(moved)))
    row["moved_loudness"] = max(correlation(moved.astype(np.float64), level, lag) for lag in range(-8, 9))
    shut = float(np.percentile(film, 5)) + SHUT_SHARE * float(np.ptp(np.percentile(film, (5, 95))))
    if config.features == "phones":
        spans = spans_of(lips_closed(pcm, heard.spec)[: len(moved)] > CLOSED)
        np.save(work / "closures.npy", spans)
        row["moved_closures"] = shut_in(moved, spans, shut)[1]
    if "script" in asked:
        clip = Performance.load(Path(asked["script"]))
        spans = np.array([(int(a * FPS), int(np.ceil(b * FPS))) for a, b in clip.closures()]).reshape(-1, 2)
        np.save(work / "scripted_closures.npy", spans)
        row["moved_scripted_closures"] = shut_in(says(clip.pcm, "scripted"), spans, shut)[1]
    return row


def film_step(footage: Footage, frames: Sequence[int], perceptual: Perceptual) -> float:
    """VGG distance of the film's own next frame inside the face's box, a mean: what 40 ms change, to compare with."""
    found = []
    for frame in frames:
        if frame + 1 in frames:
            here, there = footage.batch([frame, frame + 1]).truth.split(1)
            x0, y0, x1, y1 = box_around(footage.landmarks[frame], footage.height, footage.width)
            found.append(float(perceptual(there[:, y0:y1, x0:x1], here[:, y0:y1, x0:x1])))
    return float(np.mean(found)) if found else float("nan")


def lips_closed(pcm: NDArray[np.float32], spec: FeatureSpec) -> NDArray[np.float32]:
    """(T,) highest posterior of p, b, m within each frame of a sound."""
    heard = load_extractor(spec)(pcm)[:, NAMES.index("PP")]
    return np.asarray(heard[: len(heard) // STEPS_PER_FRAME * STEPS_PER_FRAME].reshape(-1, STEPS_PER_FRAME).max(1))


def keep(folder: Path, frames: dict[int, Picture], smaller: int = 1) -> None:
    """Frames (H, W, 3) by number as JPEG."""
    place = emptied(folder)
    for number, frame in frames.items():
        image = Image.fromarray(frame)
        image.reduce(smaller).save(place / f"{number:05d}.jpg", quality=QUALITY)


@main.command()
@click.argument("out", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--footage", required=True, type=click.Path(exists=True, path_type=Path), help="Where the datasets are.")
@click.option("--speech", type=click.Path(exists=True, path_type=Path), help="The WAV that `train` was given.")
def measure(out: Path, footage: Path, speech: Path | None) -> None:
    """Look at the frames with the face mesh; print the table; write contact sheets."""
    pcm = sample_sentence() if speech is None else read_wav(speech)
    films: dict[tuple[str, str], Any] = {}
    for path in sorted(out.glob("*/row.json")):
        row, work = json.loads(path.read_text()), path.parent
        data = Dataset(footage / row["name"])
        filmed, drawn = [], []
        eyes: list[NDArray[np.float32]] = []
        for block, smaller in (("inner", 1), ("end", 1), ("trained", SMALL)):
            numbers = [int(p.stem) for p in sorted((work / block).glob("*.jpg"))]
            if not numbers:
                continue
            if (row["name"], block) not in films:
                film = [np.asarray(Image.fromarray(data.composited(n)).reduce(smaller)) for n in numbers]
                films[row["name"], block] = track(film)
            there, here = films[row["name"], block], track(list(pictures(work / block)))
            both = there[1] & here[1]
            a, b = openings(there[0][both]), openings(here[0][both])
            gaps = (lid_gaps(there[0][both]), lid_gaps(here[0][both]), data.eyes[np.array(numbers)[both]])
            eyes.append(np.stack(gaps))
            widest = float(np.percentile(a, 95)) if len(a) else 0.0
            row[f"opening_{block}"] = float(np.percentile(b, 95)) / widest if widest > SHUT else None
            said = np.load(work / "quiet.npy")[np.array(numbers)[both]] < SPOKEN
            for name, some in ((block, np.ones_like(said)), (f"{block}_spoken", said)):
                moves = some.sum() > 2 and a[some].std() > 0 < b[some].std()
                row[f"correlation_{name}"] = float(np.corrcoef(a[some], b[some])[0, 1]) if moves else None
            if block != "trained":
                filmed.append(there[0][both])
                drawn.append(here[0][both])
            else:
                row |= spoken(list(pictures(work / "spoken")), pcm, a, work)
        row["lids"] = closing_share(*np.concatenate(eyes, 1)) if eyes else None
        if filmed:
            lips = of_landmarks(np.concatenate(filmed), np.concatenate(drawn))
            row |= {"mouth_px": lips.mouth_px, "all_px": lips.all_px}
        path.write_text(json.dumps(row, indent=1))
    rows = rows_of(out)
    for name in sorted({row["name"] for row in rows}):
        sheet(out, Dataset(footage / name), [row for row in rows if row["name"] == name], out / f"{name}.png")
    (out / "table.json").write_text(json.dumps(rows, indent=1))
    click.echo(table(rows))


def spoken(
    frames: Sequence[Picture], pcm: NDArray[np.float32], film: NDArray[np.float32], work: Path
) -> dict[str, Any]:
    """The unheard sentence: loudness, range against the film's openings (T,), closures."""
    marks, found = track(frames)
    gap = openings(marks).astype(np.float64)
    count = min(len(pcm) * FPS // SAMPLE_RATE, len(gap))
    level = decibels(loudness(pcm, count))
    scores = {lag: correlation(gap[:count], level, lag) for lag in range(-8, 9)}
    best = max(scores, key=lambda lag: scores[lag])
    wide = np.percentile(film, 95) - np.percentile(film, 5)
    row: dict[str, Any] = {
        "loudness_correlation": scores[best],
        "loudness_lag": best,
        "speech_range": float((np.percentile(gap[:count], 95) - np.percentile(gap[:count], 5)) / wide),
        "speech_found": float(found.mean()),
    }
    if (work / "closures.npy").exists():
        row["closures"], row["closures_shut"] = shut_in(gap, np.load(work / "closures.npy"), SHUT)
    if (work / "scripted_closures.npy").exists():
        gap = openings(track(list(pictures(work / "scripted")))[0]).astype(np.float64)
        spans = np.load(work / "scripted_closures.npy")
        row["scripted_closures"], row["scripted_closures_shut"] = shut_in(gap, spans, SHUT)
    return row


def spans_of(closed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(K, 2) first frame, and frame after the last, of each span of `closed` (T,)."""
    return np.flatnonzero(np.diff(np.concatenate([[0], closed.astype(int), [0]]))).reshape(-1, 2)


def shut_in(gap: NDArray[Any], spans: NDArray[np.int64], shut: float) -> tuple[int, float | None]:
    """How many spans (K, 2) of frames there are, and in which share of them, or in a frame beside, the gap (T,) falls
    below `shut`."""
    found = [bool((gap[max(0, a - 1) : b + 1] < shut).any()) for a, b in spans]
    return len(spans), float(np.mean(found)) if found else None


def pictures(folder: Path) -> Iterator[Picture]:
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as image:
            yield np.asarray(image.convert("RGB"))


if __name__ == "__main__":
    main()
