"""`being export`: what is ours in the forms other systems read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

WIDE = {"max_content_width": 110}


@click.group(name="export", context_settings=WIDE)
def command() -> None:
    """Write avatars and datasets in the forms that other systems read.

    \b
    The Gaussians of an avatar, for any splat viewer:
        being export ply demo -o demo.ply
    \b
    A dataset, for GaussianTalker's or InsTaG's own training:
        being export dataset footage -o data/me --for gaussiantalker
    """


@command.command(context_settings=WIDE, short_help="The Gaussians of an avatar, for any splat viewer.")
@click.argument("avatar")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The .ply file.")
@click.option("--strict", is_flag=True, help="Only the properties of the standard, without head_weight and audio_gate.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def ply(avatar: str, out: Path, strict: bool, force: bool) -> None:
    """Write the canonical Gaussians of AVATAR (an id or a folder) as a standard 3D Gaussian splatting PLY.

    \b
    Example:
        being export ply demo -o demo.ply
    """
    from being.commands.render import find_avatar
    from being.errors import InputError
    from being.extern.gaussiantalker import write_ply

    if out.suffix.lower() != ".ply":
        raise InputError(f"{out}: its name does not end in .ply", "Write it like demo.ply")
    if out.exists() and not force:
        raise InputError(f"{out} already exists", "Choose another name, or pass --force")
    library, manifest = find_avatar(avatar)
    gaussians = library.load(manifest.id).gaussians
    write_ply(out, gaussians, strict=strict)
    click.echo(f"{out}: {gaussians.count} Gaussians, degree 3, head space in decimetres (y up, z toward the viewer)")


@command.command(context_settings=WIDE, short_help="A dataset, for GaussianTalker or InsTaG to train on.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The folder to make.")
@click.option(
    "--for", "target", default="gaussiantalker", show_default=True, type=click.Choice(["gaussiantalker", "instag"])
)
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    help="Feature windows (N, 16, 29 or 44) [default: those in FOLDER, if any].",
)
@click.option("--au", type=click.Path(path_type=Path), help="OpenFace's table of the video [default: FOLDER's blinks].")
@click.option(
    "--poses",
    metavar="AVATAR",
    help="Head poses as this avatar was trained to, an id or a folder, in place of the tracked ones: training moves "
    "each frame's until it lies on the film.",
)
def dataset(
    folder: Path,
    out: Path,
    target: Literal["gaussiantalker", "instag"],
    features: Path | None,
    au: Path | None,
    poses: str | None,
) -> None:
    """Write FOLDER, a dataset of ours, so that the original GaussianTalker or InsTaG can train on it.

    \b
    Example:
        being export dataset footage -o data/me --for gaussiantalker --features speech_ds.npy
        being export dataset footage -o data/me --poses avatars/me
    """
    from being.commands.render import find_avatar
    from being.extern.instag import publish
    from being.progress import show_progress

    posed_by = None
    if poses is not None:
        library, manifest = find_avatar(poses)
        posed_by = library.load(manifest.id)
    with show_progress() as progress:
        done = publish(folder, out, target, windows=features, units=au, posed_by=posed_by, progress=progress)
    click.echo(f"{out}: {done.frames} frames for {target}")
    for note in done.notes:
        click.echo(f"still to do: {note}")
