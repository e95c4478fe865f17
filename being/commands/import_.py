"""`being import`: datasets and models of older systems become ours."""

from __future__ import annotations

from pathlib import Path

import click

WIDE = {"max_content_width": 110}


@click.group(name="import", context_settings=WIDE)
def command() -> None:
    """Bring in what other systems made. Every file is opened as if a stranger had sent it; nothing is half-written.

    \b
    A trained GaussianTalker, to talk at once:
        being import gaussiantalker output/obama --data data/obama -o avatars/obama
        being render speech.wav -o speech.mp4 --avatar obama --features speech_ds.npy
    \b
    An InsTaG dataset, to train on:
        being import instag data/obama -o footage --bfm 3DMM_info.npy
        being fit footage -o avatars/obama --features wav2vec2 --look-ahead published
    \b
    The other way round: being export --help. What each system is: docs/import.md.
    """


@command.command(context_settings=WIDE, short_help="An InsTaG dataset, to train on.")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The folder to make.")
@click.option(
    "--bfm",
    type=click.Path(path_type=Path),
    help="Your BFM 2009: 3DMM_info.npy, or 01_MorphableModel.mat with topology_info.npy and exp_info.npy beside it, "
    "or their folder. Not needed where the tracking has a mesh.",
)
def instag(dataset: Path, out: Path, bfm: Path | None) -> None:
    """Upgrade DATASET, made by InsTaG's process.py, so that Being and GaussianTalker can train on it.

    Adds the mesh, paints hair and mouth of the masks as head, writes the blinks under the name GaussianTalker looks
    for, and keeps the sound features as they are (44 wide, or DeepSpeech). Pictures are linked, not copied. DATASET is
    not changed.

    \b
    Examples:
        being import instag data/obama -o footage --bfm 3DMM/
        being fit footage -o avatars/obama --features wav2vec2 --look-ahead published
    """
    from being.extern.bfm import load_face_model
    from being.extern.instag import upgrade
    from being.progress import show_progress

    with show_progress() as progress:
        done = upgrade(dataset, out, load_face_model(bfm) if bfm else None, progress)
    click.echo(
        f"{out}: {done.frames} frames, mesh of {done.vertices} points, sound features {done.audio_width} wide, "
        f"{done.recoloured} masks repainted"
    )


@command.command(context_settings=WIDE, short_help="A trained GaussianTalker, to talk at once.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="The dataset it was trained on: camera, poses, plate.",
)
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="The avatar's folder; its name is its id."
)
@click.option("--iteration", type=int, help="Which checkpoint [default: the last fine one].")
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    help="Feature windows of the training clip [default: aud_ds.npy or aud_eo.npy of --data].",
)
@click.option("--wav2vec2", metavar="MODEL", help="Folder or hub name of the model behind 44-wide features.")
@click.option("--no-torso", is_flag=True, help="Leave the filmed torso out of the background.")
@click.option("--name", help="Display name [default: the id].")
@click.option("--consent", default="unconsented", help="synthetic, unconsented, or a JSON consent record.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def gaussiantalker(
    model: Path,
    data: Path,
    out: Path,
    iteration: int | None,
    features: Path | None,
    wav2vec2: str | None,
    no_torso: bool,
    name: str | None,
    consent: str,
    force: bool,
) -> None:
    """Make an avatar of MODEL, a trained GaussianTalker: its output folder, or one with point_cloud.ply in it.

    It renders as the original does. A network that listens to 44-wide features hears any sound live; one that listens
    to DeepSpeech (29 wide) speaks from files of it: being render --features.

    \b
    Examples:
        being import gaussiantalker output/obama --data data/obama -o avatars/obama
        being render speech.wav -o speech.mp4 --avatar obama --features speech_ds.npy
    """
    from being.audio.features import FeatureSpec
    from being.avatar.consent_form import read_consent
    from being.avatar.schema import check_id
    from being.errors import InputError
    from being.extern.gaussiantalker import find_windows, read_checkpoint, read_scene, to_avatar

    check_id(out.name)
    if out.exists() and not force:
        raise InputError(f"{out} already exists", "Choose another name, or pass --force")
    record = read_consent(consent)
    checkpoint = read_checkpoint(model, iteration)
    scene = read_scene(data, torso=not no_torso)
    spec = FeatureSpec(name="wav2vec2", params={"model": wav2vec2}) if wav2vec2 else None
    windows = features or find_windows(data, checkpoint.audio_width)
    avatar = to_avatar(checkpoint, scene, out, windows=windows, name=name, features=spec, consent=record, replace=force)
    listens = avatar.manifest.features.name
    how = "being render --features FILE" if listens == "deepspeech" else "any sound"
    click.echo(
        f"{out}: {checkpoint.gaussians.count} Gaussians of {checkpoint.folder}, {scene.width}x{scene.height}, "
        f"{len(scene.motion)} frames of motion; listens to {listens} ({checkpoint.audio_width} wide): {how}"
    )
    if windows is None:
        click.echo(
            "No feature windows of the training clip: the cheaper CPU forms would be fitted to silence", err=True
        )
