"""`being fit-refiner`: an avatar and its footage in, what makes its frames photographic out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from being.errors import STOPPED, InputError

if TYPE_CHECKING:
    from being.training.refiner.fit import RefinerResult


@click.command(name="fit-refiner", context_settings={"max_content_width": 110})
@click.argument("avatar")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="The talking-portrait folder the avatar was trained from (being clone --keep leaves it in OUT.run/footage).",
)
@click.option(
    "--refiner",
    type=click.Choice(["native", "streamdiffusion"]),
    default="native",
    show_default=True,
    help="Which refiner to fit: native, or streamdiffusion, for which a LoRA of its diffusion model is trained.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0),
    help="Minutes of training, of a network on top of the references [default: 0, none] or of the LoRA [default: 4].",
)
@click.option("--model", help="Diffusion model of streamdiffusion: a folder or a name on the Hugging Face hub.")
@click.option("--autoencoder", help="Autoencoder of streamdiffusion, likewise.")
@click.option(
    "--options",
    metavar="JSON",
    help="All options of streamdiffusion that it will be played with, as under refiner.options of a Serve config.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Learning rate of the LoRA [default: 0.0002].",
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
    "--work",
    type=click.Path(path_type=Path),
    help="Folder of finished folds and the report [default: AVATAR.refiner; AVATAR.lora].",
)
@click.option("--restart", is_flag=True, help="Forget what an earlier, unfinished run has done.")
def command(
    avatar: str,
    data: Path,
    refiner: str,
    minutes: float | None,
    model: str | None,
    autoencoder: str | None,
    options: str | None,
    rate: float | None,
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

    With --refiner streamdiffusion a LoRA (Hu et al. 2021) of the diffusion model is trained on what the avatar renders
    beside what was filmed: low-rank changes of the attention, of rank 16 unless lora_rank of --options says otherwise.
    The weights are yours, SD-turbo and TAESD unless --model and --autoencoder name others. Give the options that it
    will be played with: crop sizes, timesteps and prompt are part of what is learned. It is held to what the model
    does without it, and stored as lora.safetensors in PEFT's naming, bound to that model; a refiner of another one
    leaves it out.

    Look at AVATAR.refiner/report.html (AVATAR.lora/report.html) before you use it. One that does harm is not stored,
    nor are references that change next to nothing, and what the avatar had before stays. Ctrl-C stops; the same
    command goes on from finished folds, a LoRA starts anew.

    \b
    Examples:
        being clone me.mp4 -o avatars/me --keep
        being fit-refiner avatars/me --data avatars/me.run/footage
        being render speech.wav -o speech.mp4 --avatar me --refine 1
        being serve --refiner native
        being fit-refiner avatars/me --data avatars/me.run/footage --refiner streamdiffusion
        being render speech.wav -o speech.mp4 --avatar me --refiner streamdiffusion
    """
    from being.commands.render import find_avatar
    from being.refine.native.weights import FILE as REFINER
    from being.refine.streamdiffusion.avatar_lora import FILE as LORA

    if not data.is_dir():
        raise InputError(f"{data}: there is no such folder", "Give the talking-portrait folder of the avatar")
    given: dict[str, Any] = {"vgg": vgg, "identity": identity, "device": device}
    if minutes is not None:
        given["minutes"] = minutes
    told = _options(model, autoencoder, options)
    if rate is not None:
        given["rate"] = rate
    if refiner == "native":
        if told or rate is not None:
            raise InputError(
                "--model, --autoencoder, --options and --rate are streamdiffusion's", "Add --refiner streamdiffusion"
            )
        given |= {"folds": folds, "fold_minutes": fold_minutes}
    else:
        _refuse_native_options()
    library, manifest = find_avatar(avatar)
    folder = library.get(manifest.id).folder
    result = (
        _native(folder, data, given, work, restart) if refiner == "native" else _lora(folder, data, given, told, work)
    )
    if result.judged is None:
        click.get_current_context().exit(STOPPED)
    raw, refined = result.judged.raw, result.judged.refined
    names = {"psnr": "dB", "ssim": "SSIM", "vgg": "VGG distance", "spectrum": "decades of the spectrum"}
    names |= {"identity": "distance of face embeddings"}
    scores = ", ".join(f"{raw[key]:.4g} -> {refined[key]:.4g} {text}" for key, text in names.items() if key in raw)
    click.echo(f"{folder}: {scores} on held-out frames, strength {result.judged.strength:g}")
    if result.judged.alone is not None:
        without = ", ".join(
            f"{result.judged.alone.scores[key]:.4g} {text}" for key, text in names.items() if key in raw
        )
        click.echo(f"the model alone, at that strength: {without}")
    click.echo(f"look at {result.report}")
    if not result.judged.kept:
        left = "flickers or leaves the film" if refiner == "native" else "is worse than the model alone"
        harm = f"it moves the lips or {left} even so"
        why = "frames come no nearer to the film" if result.judged.harmless else harm
        click.echo(f"{why}: it was not put into the avatar; longer footage may help")
        if refiner == "native" and REFINER in manifest.files:
            click.echo("the avatar keeps the refiner that it had")
        elif refiner == "streamdiffusion" and LORA in manifest.files:
            click.echo("the avatar keeps the LoRA that it had; avatar_loras: false in the options plays without it")
        return
    if told:  # being render has no options
        settings = json.dumps({"backend": "streamdiffusion", "options": told})
        click.echo(f"let it speak: being serve with refiner: {settings} under args of its config")
        return
    flags = "--refine 1" if refiner == "native" else "--refiner streamdiffusion"
    click.echo(f"let it speak: being render --sample -o hello.mp4 --avatar {folder} {flags}")


def _refuse_native_options() -> None:
    """InputError where an option of the native refiner was given for another."""
    context = click.get_current_context()
    native = {"folds": "--folds", "fold_minutes": "--fold-minutes", "restart": "--restart"}
    given = [flag for name, flag in native.items() if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if given:
        raise InputError(
            f"{' and '.join(given)} would do nothing: there are no folds of a LoRA", "Leave it out of the command"
        )


def _options(model: str | None, autoencoder: str | None, options: str | None) -> dict[str, Any]:
    """The backend's options, by JSON and by the two that have a flag."""
    try:
        told = json.loads(options) if options is not None else {}
    except ValueError as error:
        raise InputError(f"--options is no JSON ({error})", """Like --options '{"timesteps": [249]}'""") from None
    if not isinstance(told, dict):
        raise InputError("--options is no JSON object", """Like --options '{"timesteps": [249]}'""")
    flags = {"model": model, "autoencoder": autoencoder}
    return told | {name: value for name, value in flags.items() if value is not None}


def _native(folder: Path, data: Path, given: dict[str, Any], work: Path | None, restart: bool) -> RefinerResult:
    from being.progress import show_progress
    from being.training.refiner.config import RefinerConfig
    from being.training.refiner.fit import fit_refiner

    config = RefinerConfig(**given)
    with show_progress() as progress:
        return fit_refiner(folder, data, config, progress, work=work, restart=restart)


def _lora(folder: Path, data: Path, given: dict[str, Any], options: dict[str, Any], work: Path | None) -> RefinerResult:
    from being.progress import show_progress
    from being.refine.streamdiffusion.settings import checked_settings
    from being.training.refiner.lora.config import LoraConfig
    from being.training.refiner.lora.fit import fit_lora

    if given.get("minutes") == 0:
        raise InputError("a LoRA needs minutes of training", "Give --minutes 4, or leave it out")
    config = LoraConfig(refiner=checked_settings(options), **given)
    with show_progress() as progress:
        return fit_lora(folder, data, config, progress, work=work)
