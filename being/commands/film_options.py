"""What every command on a video asks: which part and sound track of it, and what stands behind the person."""

from __future__ import annotations

import click

from being.commands.picture_size import PictureSize
from being.commands.seconds import Seconds

OPTIONS = (
    click.option(
        "--background",
        metavar="PICTURE",
        help="What stands behind the avatar: a picture, #rrggbb, or blur "
        "[default: as filmed; blur if the camera moves].",
    ),
    click.option(
        "--audio-track",
        type=click.IntRange(min=1),
        metavar="N",
        help="Which sound track of VIDEO, from 1 [default: the default one, else the first that is not silent].",
    ),
    click.option(
        "--start", "start_s", type=Seconds(), metavar="TIME", help="Use the video from here on, seconds or m:ss."
    ),
    click.option(
        "--end", "end_s", type=Seconds(), metavar="TIME", help="Use the video up to here only [default: its end]."
    ),
)

size_option = click.option(
    "--size",
    default="512",
    show_default=True,
    type=PictureSize(64, 1920),
    metavar="SIDE|WxH",
    help="Pixels of the pictures: a square's side, or 1080x1920.",
)


def film_options(function):  # type: ignore[no-untyped-def]
    """--background, --audio-track, --start and --end, in this order."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function
