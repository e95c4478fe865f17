"""`being clone`: a short video of a person in, an avatar that talks out."""

from __future__ import annotations

import json
import shutil
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import click

from being.avatar.consent import ConsentRecord
from being.commands.film_options import film_options, size_option
from being.errors import STOPPED
from being.progress import Progress

# In the work folder: the captured dataset, what it was captured from, and the refiner's folds and report.
FOOTAGE, NOTE, REFINER = "footage", "clone.json", "refiner"


@click.command(name="clone", context_settings={"max_content_width": 110})
@click.argument("video", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The avatar's folder, e.g. avatars/me; its name is its id.",
)
@click.option("--name", help="Display name [default: the person on record, or the id].")
@click.option("--consent", help="JSON consent record, or 'synthetic' or 'unconsented' [default: you are asked].")
@size_option
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Budget of the training [default: 4 on a GPU, 30 on a CPU].",
)
@click.option(
    "--focal",
    type=click.FloatRange(min=0, min_open=True),
    help="Focal length in pixels of the captured pictures [default: solved, about 1.6 x size].",
)
@click.option(
    "--parser", default="builtin", show_default=True, help="Who draws the masks: builtin, segformer, segformer:FOLDER."
)
@film_options
@click.option("--device", default="auto", show_default=True, help="Trains here: auto, cpu, cuda, cuda:1.")
@click.option(
    "--work", type=click.Path(path_type=Path), help="Folder of footage, checkpoint and report [default: OUT.run]."
)
@click.option(
    "--ray",
    "on_ray",
    is_flag=True,
    help="Train as a job on the running Ray cluster, or on one started here (needs the extra `train`).",
)
@click.option(
    "--refine/--no-refine",
    default=None,
    help="Make a refiner too, as being fit-refiner does  [default: where training is on a GPU, which takes seconds].",
)
@click.option("--keep", is_flag=True, help="Keep the captured frames and the checkpoint (to train again, to look).")
@click.option("--restart", is_flag=True, help="Forget what an earlier, unfinished run has done.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def command(
    video: Path,
    out: Path,
    name: str | None,
    consent: str | None,
    size: tuple[int, int],
    minutes: float | None,
    focal: float | None,
    parser: str,
    background: str | None,
    audio_track: int | None,
    start_s: float | None,
    end_s: float | None,
    device: str,
    work: Path | None,
    on_ray: bool,
    refine: bool | None,
    keep: bool,
    restart: bool,
    force: bool,
) -> None:
    """Clone the person in VIDEO as the avatar OUT, ready for being render and being serve.

    VIDEO is any phone video of one person talking to a camera: head and shoulders, even light, nothing
    in front of the face. On a stand the camera keeps the place behind the person; from a hand it does not, and the
    avatar gets a blurred background or yours (--background). Ten seconds will do, a minute is better: the avatar can
    only show what it saw, so speak in whole sentences, open the mouth well, turn the head a little, blink, and be
    silent for a second or two. A talking-portrait folder may be given in place of a video.

    Parts that show something else (black, title cards, other scenes) are found and left out; --start and --end choose a
    part of VIDEO.

    Three steps: capture (masks, poses, blinks), training, and a report to look at, OUT.run/report.html. Ctrl-C stops;
    the same command goes on from there.

    \b
    Examples:
        being clone me.mp4 -o avatars/me
        being clone ada.mov -o avatars/ada --consent ada-release.json --minutes 5
        being render --sample -o hello.mp4 --avatar me
    """
    from being.avatar.consent_form import about, hash_footage
    from being.avatar.schema import check_id
    from being.avatar.signing import own_key
    from being.dataset import Dataset
    from being.errors import BeingError, InputError
    from being.model.device import check_device_name, usable_device
    from being.progress import show_progress
    from being.training import fit
    from being.training.defaults import config_for, default_minutes
    from being.training.fit import check_place

    if not video.exists():
        raise InputError(f"{video}: there is no such file", "Give a video, or a talking-portrait folder")
    if on_ray and work is not None:
        raise InputError("--work is for training in this process", "Leave it out with --ray: it is OUT.run")
    work = work or out.with_name(out.name + ".run")
    check_id(out.name)
    check_device_name(device) if on_ray else usable_device(device)
    digest = hash_footage(video)
    record = about(_record(consent), digest)
    if record.status == "consented":
        own_key()
    check_place(out, work, force)
    footage = video if video.is_dir() else work / FOOTAGE
    asked = {
        "video": digest,
        "size": size[0] if size[0] == size[1] else list(size),
        "focal": focal,
        "parser": parser,
        "audio_track": audio_track,
        "part": [start_s, end_s],
        "background": background,
    }
    if restart:
        shutil.rmtree(work, ignore_errors=True)
        check_place(out, work, force)
    _same_work(work, asked)
    seconds = {}
    with show_progress() as progress:
        if not video.is_dir():
            from being.capture.pipeline import capture

            start = time.perf_counter()
            if not (footage / "track_params.pt").exists():
                try:
                    report = capture(
                        video,
                        footage,
                        size=size,
                        focal=focal,
                        parser=parser,
                        background=background,
                        progress=progress,
                        audio_track=audio_track,
                        start_s=start_s,
                        end_s=end_s,
                    )
                except BeingError:
                    _leave_nothing(work)
                    raise
                except KeyboardInterrupt:
                    click.echo(f"being: stopped, {out} is unfinished; the same command goes on from there", err=True)
                    click.get_current_context().exit(STOPPED)
                for note in report.notes:
                    progress.note(f"note: {note}")
            seconds["capture"] = time.perf_counter() - start
        config = config_for(Dataset(footage), device, minutes or default_minutes(device))
        title = name or (record.who if record.status == "consented" else out.name)
        if on_ray:
            from being.training.cluster.ray import fit_as_job

            job = fit_as_job(footage, out, config, progress, replace=force, name=title, consent=record, refine=refine)
            metrics, stopped = dict(job.metrics), job.avatar is None
        else:
            result = fit(
                footage, out, config, progress, work=work, replace=force, name=title, consent=record, before=seconds
            )
            metrics, stopped = result.metrics, result.stopped
        if not stopped and not on_ray:
            stopped = _refine(out, footage, refine, device, work / REFINER, progress)
    if stopped:
        click.get_current_context().exit(STOPPED)
    if not keep:
        _tidy(work)
    _say(out, work, metrics, record, keep and not video.is_dir())


def _refine(out: Path, footage: Path, wanted: bool | None, device: str, work: Path, progress: Progress) -> bool:
    """Make the refiner of a finished avatar where it is wanted or pays; whether that was stopped."""
    from being.training.refiner.afterwards import refine_new

    stopped = refine_new(out, footage, wanted, device, progress, work=work)
    if stopped:
        again = f"being fit-refiner {out} --data {footage} --work {work}"
        click.echo(f"being: {out} is whole, its refiner is not; go on with: {again}", err=True)
    return stopped


def _record(consent: str | None) -> ConsentRecord:
    """The record named on the command line, or the answers at the terminal; without a terminal nobody can be asked."""
    from being.avatar.consent_form import ask, read_consent

    if consent is not None:
        return read_consent(consent)
    if sys.stdin.isatty():
        return ask(date.today())
    return ConsentRecord()


def _same_work(work: Path, asked: dict[str, Any]) -> None:
    """Note what the work folder is about; refuse to go on with the work on another video or of another size."""
    from being.errors import InputError

    note = work / NOTE
    if note.exists():
        try:
            found = json.loads(note.read_text("utf-8"))
        except ValueError:
            found = None
        if found != asked:
            raise InputError(
                f"{work} holds unfinished work on another video or with other settings",
                "Use the settings it was started with, --restart to forget it, or another --work",
            )
        return
    note.write_text(json.dumps(asked), "utf-8")


def _leave_nothing(work: Path) -> None:
    """After a video that cannot be used: no work folder, unless the capture left steps in it to go on from."""
    (work / NOTE).unlink(missing_ok=True)
    if not any(work.iterdir()):
        work.rmdir()


def _tidy(work: Path) -> None:
    """The frames of a person and the checkpoint are not kept without being asked for; the report is."""
    from being.training.checkpoint import NAME

    for folder in (FOOTAGE, "checkpoints"):  # the second is of --ray
        shutil.rmtree(work / folder, ignore_errors=True)
    for fold in (work / REFINER).glob("fold*.safetensors"):
        fold.unlink()
    for name in (NAME, NOTE):
        (work / name).unlink(missing_ok=True)


def _say(out: Path, work: Path, metrics: dict[str, float], record: ConsentRecord, keep: bool) -> None:
    shown = {"held_out_psnr": "dB inside the person", "held_out_ssim": "SSIM", "mouth_landmarks_px": "px at the mouth"}
    scores = ", ".join(f"{metrics[key]:.4g} {text}" for key, text in shown.items() if key in metrics)
    click.echo(f"{out}: {scores or 'trained'} on held-out frames")
    click.echo(f"look at {work / 'report.html'}" + (f"; the footage is kept in {work / FOOTAGE}" if keep else ""))
    if record.status == "unconsented":
        click.echo("no consent record: servers refuse to play this avatar (being clone --help, --consent)")
    click.echo(f"let it speak: being render --sample -o hello.mp4 --avatar {out}")
