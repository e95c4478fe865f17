"""`being fit-refiner`: an avatar and its footage in, what makes its frames photographic out."""

from __future__ import annotations

from pathlib import Path

import click

from being.errors import STOPPED, InputError


@click.command(name="fit-refiner", context_settings={"max_content_width": 110})
@click.argument("avatar")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="The talking-portrait folder the avatar was trained from (being clone --keep leaves it in OUT.run/footage).",
)
@click.option(
    "--minutes",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Of training a network on top of the references; 0 for references alone.",
)
@click.option(
    "--folds", default=2, show_default=True, type=click.IntRange(2, 8), help="Parts the footage is divided into."
)
@click.option(
    "--fold-minutes",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Training of the avatar that draws each part without having seen it.",
)
@click.option(
    "--vgg",
    type=click.Path(path_type=Path),
    help="VGG-16 weights (.safetensors or .pt) for a perceptual loss and a perceptual distance in the report.",
)
@click.option(
    "--identity",
    type=click.Path(path_type=Path),
    help="dlib_face_recognition_resnet_model_v1.dat, for the distance of face embeddings in the report (needs dlib).",
)
@click.option("--device", default="auto", show_default=True, help="Trains here: auto, cpu, cuda, cuda:1.")
@click.option(
    "--work", type=click.Path(path_type=Path), help="Folder of finished folds and the report [default: AVATAR.refiner]."
)
@click.option("--restart", is_flag=True, help="Forget what an earlier, unfinished run has done.")
def command(
    avatar: str,
    data: Path,
    minutes: float,
    folds: int,
    fold_minutes: float,
    vgg: Path | None,
    identity: Path | None,
    device: str,
    work: Path | None,
    restart: bool,
) -> None:
    """Make a refiner for AVATAR, an id (see being avatars) or a folder, and store it in the avatar.

    A refiner brings the detail of rendered frames nearer to the film's: what up to 96 frames of the footage showed
    beyond their renders is laid onto frames that look alike. That takes as long as drawing the footage does. It is
    judged on frames that nothing was trained on, and stored as refiner.safetensors; its strength is lowered where it
    would move the lips or lose what the render has.

    With --minutes 4 a small network is trained on top. It must learn from frames that the avatar has not seen, so the
    footage is divided into parts (--folds), an avatar is trained without each, and draws it. Where the network is no
    better than the references on frames that were kept apart, it is left out.

    Look at AVATAR.refiner/report.html before you use it. Ctrl-C stops; the same command goes on from finished folds.

    \b
    Examples:
        being clone me.mp4 -o avatars/me --keep
        being fit-refiner avatars/me --data avatars/me.run/footage
        being render speech.wav -o speech.mp4 --avatar me --refine 1
        being serve --refiner native
    """
    from being.commands.render import find_avatar
    from being.progress import show_progress
    from being.training.refiner.config import RefinerConfig
    from being.training.refiner.fit import fit_refiner

    if not data.is_dir():
        raise InputError(f"{data}: there is no such folder", "Give the talking-portrait folder of the avatar")
    library, manifest = find_avatar(avatar)
    folder = library.get(manifest.id).folder
    config = RefinerConfig(
        minutes=minutes, folds=folds, fold_minutes=fold_minutes, vgg=vgg, identity=identity, device=device
    )
    with show_progress() as progress:
        result = fit_refiner(folder, data, config, progress, work=work, restart=restart)
    if result.judged is None:
        click.get_current_context().exit(STOPPED)
    raw, refined = result.judged.raw, result.judged.refined
    names = {"psnr": "dB", "ssim": "SSIM", "vgg": "VGG distance", "spectrum": "decades of the spectrum"}
    names |= {"identity": "distance of face embeddings"}
    scores = ", ".join(f"{raw[key]:.4g} -> {refined[key]:.4g} {text}" for key, text in names.items() if key in raw)
    click.echo(f"{folder}: {scores} on held-out frames, strength {result.judged.strength:g}")
    click.echo(f"look at {result.report}")
    if not result.judged.harmless:
        click.echo(
            "it moves the lips or leaves the film even so: it was not put into the avatar; longer footage may help"
        )
        return
    click.echo(f"let it speak: being render --sample -o hello.mp4 --avatar {folder} --refine 1")
