"""`being capture`: a video in, a talking-portrait dataset out."""

from __future__ import annotations

from pathlib import Path

import click

from being.commands.film_options import film_options, size_option
from being.errors import STOPPED


@click.command(name="capture", context_settings={"max_content_width": 110})
@click.argument("video", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The dataset folder to make.")
@size_option
@click.option(
    "--focal", type=float, help="Focal length in pixels of these pictures [default: solved, about 1.6 x size]."
)
@click.option("--parser", default="builtin", show_default=True, help="builtin, segformer, or segformer:FOLDER.")
@film_options
@click.option("--workers", type=int, help="Threads [default: one a processor].")
@click.option("--restart", is_flag=True, help="Forget what an earlier, stopped run did.")
def command(
    video: Path,
    out: Path,
    size: tuple[int, int],
    focal: float | None,
    parser: str,
    background: str | None,
    audio_track: int | None,
    start_s: float | None,
    end_s: float | None,
    workers: int | None,
    restart: bool,
) -> None:
    """Make a dataset from VIDEO: one person talking to a camera, on a stand or in a hand.

    Ctrl-C stops; the same command goes on from there. OUT appears when it is whole; OUT/report.html shows what was
    found and what to film better. Where the camera moves, the person is cut out of every frame and the
    background behind the avatar is made. Sound is laid on the clock of the pictures; what had to be repaired (holes,
    damage, joined recordings) or chosen (tracks, channels) is told in lines that begin with "note:" and in the report.

    Parts that show something else (black, title cards, fades, other scenes, no face) are left out; the report lists
    them. --start and --end choose a part of VIDEO.

    \b
    Examples:
        being capture me.mov -o footage
        being capture interview.mkv -o footage --start 0:12 --end 2:30
        being fit footage -o avatars/me
    """
    from being.capture.pipeline import capture
    from being.progress import show_progress

    try:
        with show_progress() as progress:
            report = capture(
                video,
                out,
                size=size,
                focal=focal,
                parser=parser,
                background=background,
                progress=progress,
                resume=not restart,
                workers=workers,
                audio_track=audio_track,
                start_s=start_s,
                end_s=end_s,
            )
    except KeyboardInterrupt:
        click.echo(f"being: stopped, {out} is unfinished; the same command goes on where it stopped", err=True)
        click.get_current_context().exit(STOPPED)
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(
        f"{out}: {report.frames} frames, pose to {report.rms_px:.2f} px, {report.blinks} blinks; "
        f"report {out / 'report.html'}"
    )
