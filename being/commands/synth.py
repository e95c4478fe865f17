"""`being synth`: footage of a person who does not exist, with everything about it known."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="synth", context_settings={"max_content_width": 110})
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The dataset folder.")
@click.option("--seconds", default=60.0, show_default=True, help="Length of the footage.")
@click.option("--seed", default=0, show_default=True, help="Another seed, another performance.")
@click.option("--size", default="512x512", show_default=True, metavar="WxH", help="Pixels of the frames.")
@click.option(
    "--look",
    type=click.Choice(["anna", "bruno", "mei"]),
    default="anna",
    show_default=True,
    help="Who is drawn.",
)
@click.option(
    "--language",
    type=click.Choice(["en", "de", "es", "zh"]),
    default="en",
    show_default=True,
    help="What is spoken; all but English needs espeak-ng.",
)
@click.option(
    "--voice",
    "voices",
    multiple=True,
    help="An espeak-ng voice, may be repeated; 'formant' needs none [default: several of the language].",
)
@click.option(
    "--camera",
    type=click.Choice(["still", "hand", "pan", "zoom", "follow"]),
    help="Film in a furnished room: from a stand, from a hand, panning, zooming, or a crop that follows the face "
    "[default: a still camera in a plain studio].",
)
@click.option("--workers", type=int, help="Threads [default: one a processor].")
@click.option("--video", type=click.Path(path_type=Path), help="Also write an MP4 of it here.")
def command(
    out: Path,
    seconds: float,
    seed: int,
    size: str,
    look: str,
    language: str,
    voices: tuple[str, ...],
    camera: str | None,
    workers: int | None,
    video: Path | None,
) -> None:
    """Make a talking-portrait folder of the synthetic person: frames, masks, landmarks, poses, sound, truth.

    An interrupted run goes on when called again the same way.

    \b
    Examples:
        being synth -o footage --seconds 60
        being synth -o small --seconds 10 --size 128x128 --voice formant --video small.mp4
        being synth -o handheld --seconds 20 --camera hand --video handheld.mp4
        being synth -o bruno --seconds 20 --look bruno --language de --voice gmw/de+m3
    """
    from being.commands.picture_size import parse_size
    from being.progress import show_progress
    from being.synthetic import generate

    with show_progress() as progress:
        progress.part("frames")
        generate(
            out,
            seconds=seconds,
            seed=seed,
            size=parse_size(size),
            workers=workers,
            voices=voices or None,
            video=video,
            camera=camera,
            language=language,
            look=look,
            progress=lambda done, total: progress.update(done / total),
        )
    click.echo(f"{out}: {seconds:g} s of footage" + (f", {video}" if video else ""))
