"""`python -m being.synthetic plan | render | lips | make`: speech where espeak-ng is, frames where processors are."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from being.errors import BeingError


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise click.BadParameter(f"{text!r} is no size; write it like 512x512")
    return int(width), int(height)


def _progress(started: float):  # type: ignore[no-untyped-def]
    def show(done: int, total: int) -> None:
        if done == total or done % 25 == 0:
            click.echo(f"{done}/{total} frames, {time.monotonic() - started:.0f} s", err=True)

    return show


@click.group()
def main() -> None:
    """Footage of the synthetic person with exact truth."""


@main.command("plan")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seconds", default=120.0, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--voice", "voices", multiple=True, help="A voice's name; repeat for several.")
@click.option("--language", default="en", show_default=True, help="What is spoken: en, de, es or zh.")
@click.option("--look", default="anna", show_default=True, help="Who will be drawn: anna, bruno or mei.")
@click.option("--idle", is_flag=True, help="Nobody speaks.")
def plan_command(
    out: Path, seconds: float, seed: int, voices: tuple[str, ...], language: str, look: str, idle: bool
) -> None:
    """Make the speech and the motion, saved as OUT (.npz)."""
    from being.synthetic.performance import listen, plan

    clip = listen(seconds, seed, look) if idle else plan(seconds, seed, voices or None, language=language, look=look)
    clip.save(out)
    click.echo(f"{out}: {clip.frames} frames, {len(clip.texts)} sentences", err=True)


@main.command("render")
@click.argument("performance", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--size", default="512x512", show_default=True)
@click.option("--workers", type=int)
@click.option("--video", type=click.Path(path_type=Path))
def render_command(performance: Path, out: Path, size: str, workers: int | None, video: Path | None) -> None:
    """Draw a saved performance into the dataset folder OUT; run it again to continue."""
    from being.synthetic.generate import generate
    from being.synthetic.performance import Performance

    clip = Performance.load(performance)
    generate(
        out, performance=clip, size=_size(size), workers=workers, video=video, progress=_progress(time.monotonic())
    )


@main.command("lips")
@click.argument("performance", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
def lips_command(performance: Path, out: Path) -> None:
    """Speech features and lips of a saved performance, nothing drawn: what training rehearses, saved as OUT (.npz)."""
    from being.synthetic.lips import write_lips
    from being.synthetic.performance import Performance

    write_lips(Performance.load(performance), out)


@main.command("make")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--size", default="512x512", show_default=True)
@click.option("--workers", type=int)
@click.option("--voice", "voices", multiple=True)
@click.option("--language", default="en", show_default=True)
@click.option("--look", default="anna", show_default=True)
@click.option("--video", type=click.Path(path_type=Path))
def make_command(
    out: Path,
    seconds: float,
    seed: int,
    size: str,
    workers: int | None,
    voices: tuple[str, ...],
    language: str,
    look: str,
    video: Path | None,
) -> None:
    """Plan and draw in one go."""
    from being.synthetic.generate import generate

    generate(
        out,
        seconds,
        seed,
        _size(size),
        workers,
        voices or None,
        video=video,
        progress=_progress(time.monotonic()),
        language=language,
        look=look,
    )


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except BeingError as error:
        sys.exit(str(error))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
