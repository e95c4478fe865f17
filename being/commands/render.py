"""`being render`: a sound file through an avatar into a video."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from being.commands.picture_size import parse_size
from being.errors import InputError
from being.startup import load_numba_beside_torch, loading

if TYPE_CHECKING:
    from being.avatar.library import Library
    from being.avatar.schema import AvatarManifest
    from being.graph.local import InProcessGraph
    from being.graph.offline import Totals
    from being.graph.sound_encoder import SoundEncoder
    from being.live.emotion import FloatArray
    from being.live.requests import AvatarFacts, OutputFormat
    from being.media.contract import VideoWriter
    from being.media.reading.sound_file import SoundFile
    from being.progress import Progress
    from being.refine.settings import Backend, RefinerSettings

COMPILING_S = 3.0  # a warm-up that takes longer is compiling, not reading the cache


@click.command(name="render", context_settings={"max_content_width": 110})
@click.argument("audio", type=click.Path(path_type=Path), required=False)
@click.option("--sample", is_flag=True, help="Speak the sentence that comes with Being instead of AUDIO.")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="OUT.mp4 (H.264, AAC), OUT.webm (VP9, Opus; transparent with --background none), or a folder of PNG frames.",
)
@click.option("--avatar", default="demo", show_default=True, help="Id of an avatar (see being avatars) or its folder.")
@click.option(
    "--background",
    default="plate",
    show_default=True,
    metavar="plate|#RRGGBB|PICTURE|none",
    help="The recorded background, a colour, a picture file, or nothing.",
)
@click.option("--size", metavar="WxH", help="Pixels of the video [default: as the avatar was recorded].")
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    help="Feature windows of AUDIO computed elsewhere (aud_ds.npy, aud_eo.npy), for imported avatars.",
)
@click.option(
    "--emotion",
    "emotions",
    multiple=True,
    metavar="NAME=0..1",
    help="Hold a smile or brows, smile=0.8, where the avatar was trained with them; may be repeated. Else as recorded.",
)
@click.option(
    "--refine",
    type=click.FloatRange(0, 1),
    help="How much a refiner changes the frames; native needs being fit-refiner before [default: 0; 1 with --refiner].",
)
@click.option(
    "--refiner",
    type=click.Choice(["native", "streamdiffusion"]),
    help="Which refiner [default: native].",
)
@click.option("--seed", default=0, show_default=True, help="Another seed, another natural motion of the head.")
@click.option(
    "--limit", default=3600.0, show_default=True, metavar="SECONDS", help="Refuse sound that lasts longer than this."
)
@click.option(
    "--audio-track",
    type=click.IntRange(min=1),
    metavar="N",
    help="Which sound track of AUDIO, from 1 [default: the default one, else the first that is not silent].",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def command(
    audio: Path | None,
    sample: bool,
    out: Path,
    avatar: str,
    background: str,
    size: str | None,
    features: Path | None,
    emotions: tuple[str, ...],
    refine: float | None,
    refiner: Backend | None,
    seed: int,
    limit: float,
    audio_track: int | None,
    device: str,
    force: bool,
) -> None:
    """Make AUDIO (any sound or video file) into a video of the avatar saying it.

    Whatever a media player plays is heard, on its own clock: holes and damaged places become silence, several channels
    are mixed to stereo. What was repaired or chosen is told in lines that begin with "note:".

    \b
    Examples:
        being render --sample -o hello.mp4
        being render speech.mp3 -o speech.mp4 --background '#204060'
        being render speech.wav -o speech.webm --background none --size 256x256
        being render speech.wav -o frames/ --avatar ./avatars/me
        being render speech.wav -o photographic.mp4 --avatar me --refine 1
        being render speech.wav -o happy.mp4 --avatar me --emotion smile=0.8
        being render speech.wav -o speech.mp4 --avatar obama --features aud_ds.npy
        being render film.mkv -o dubbed.mp4 --audio-track 2
    """
    if sample == (audio is not None):
        raise click.UsageError("give a sound file, or --sample, and not both", click.get_current_context())

    starting = click.get_current_context().with_resource(ExitStack())
    starting.enter_context(loading())
    load_numba_beside_torch()
    from being.inference.compositing import Transparent, parse_background
    from being.inference.frames import PixelFormat
    from being.live.emotion import target_values
    from being.live.requests import OutputFormat
    from being.media.contract import StreamFormat
    from being.media.files import check_target, open_writer
    from being.media.reading.sound_reader import open_sound
    from being.model.device import check_device_name
    from being.progress import show_progress
    from being.refine.settings import RefinerSettings
    from being.samples import HELLO

    check_device_name(device)
    source = HELLO if audio is None else audio
    library, manifest = find_avatar(avatar)
    emotion = target_values(manifest.network.emotion_states, dict(map(parse_emotion, emotions)))
    width, height = parse_size(size) if size else (manifest.width, manifest.height)
    stand_in = parse_background(background)
    alpha = isinstance(stand_in, Transparent)
    check_target(out, StreamFormat(width, height), alpha=alpha, overwrite=force)
    sound = open_sound(source, track=audio_track, limit_s=limit)
    for note in sound.notes:
        click.echo(f"note: {note}", err=True)
    encoder = recorded(features, manifest, sound) if features else None
    planes = out.suffix.lower() in (".mp4", ".webm") and not alpha
    if refine is None:
        refine = 0.0 if refiner is None else 1.0
    output = OutputFormat(width, height, stand_in, PixelFormat.YUV420 if planes else PixelFormat.RGB, refine)
    settings = RefinerSettings(backend=refiner or "native", device=device) if refine else None

    format = StreamFormat(width, height, sound_channels=sound.sides)
    with open_writer(out, format, alpha=alpha, overwrite=force) as writer, show_progress() as progress:
        graph = make_graph(library, device, encoder, settings)
        try:
            playing = perform(graph, manifest.id, output, sound, writer, alpha, seed, emotion, progress, starting)
            facts, totals = asyncio.run(playing)
        finally:
            graph.close()
    speed = sound.seconds / totals.elapsed_s
    click.echo(
        f"{out}: {totals.frames} frames of {width}x{height}, {sound.seconds:.1f} s of sound in "
        f"{totals.elapsed_s:.1f} s ({speed:.2g}x real time), look-ahead {1000 * facts.audio_range.look_ahead_s:.0f} ms"
    )


async def perform(
    graph: InProcessGraph,
    avatar: str,
    output: OutputFormat,
    sound: SoundFile,
    writer: VideoWriter,
    alpha: bool,
    seed: int,
    emotion: FloatArray,
    progress: Progress,
    starting: ExitStack,
) -> tuple[AvatarFacts, Totals]:
    """Load, warm up, end what `starting` holds, and play the whole sound into the writer."""
    from being.constants import SAMPLE_RATE
    from being.graph import offline
    from being.inference.motion import MotionPlayer
    from being.media.writer_sink import WriterSink

    progress.part("load")
    facts = await graph.prepare(avatar)
    if output.refine and facts.refine is None:
        raise InputError(f"avatar {avatar!r} has no refiner", "Make one: being fit-refiner, or leave --refine out")
    player = MotionPlayer(facts.motion, seed)
    progress.update(1.0)
    progress.part("warm up")
    warming = asyncio.ensure_future(offline.warm_up(graph, facts, output, player))
    done, _ = await asyncio.wait({warming}, timeout=COMPILING_S)
    if not done:
        progress.note("compiling the drawing kernels, once on this machine")
    await warming
    starting.close()
    progress.update(1.0)
    progress.part("render")
    started = time.perf_counter()

    def report(frames: int, total: int) -> None:
        progress.update(frames / total, fps=frames / (time.perf_counter() - started))

    totals = await offline.perform(
        graph,
        facts,
        output,
        sound.paired_blocks(),
        WriterSink(writer, alpha=alpha),
        channels=sound.sides,
        expected_frames=offline.frames_covering(round(sound.seconds * SAMPLE_RATE)),
        player=player,
        emotion=emotion,
        progress=report,
    )
    return facts, totals


def make_graph(
    library: Library, device: str, encoder: SoundEncoder | None = None, refiner: RefinerSettings | None = None
) -> InProcessGraph:
    """The graph in this process, its sound encoded by `encoder` and its frames refined where given.

    Raises
    ------
    InputError, MissingDependencyError
        There is no such device here, or the refiner cannot be loaded.
    """
    from being.graph.local import InProcessGraph
    from being.inference.engine import Engine
    from being.model.device import usable_device
    from being.refine.load import load_stage

    usable_device(device)
    stages = [load_stage(refiner, library)] if refiner is not None else []
    return InProcessGraph(Engine(library, device, stages=stages), encoder)


def recorded(features: Path, manifest: AvatarManifest, sound: SoundFile) -> SoundEncoder:
    """The encoder that reads a file of windows instead of listening to the sound."""
    from being.graph.offline import frames_covering
    from being.graph.recorded import RecordedEncoder

    samples = sum(len(block) for block in sound.model_blocks())
    return RecordedEncoder(features, manifest, frames_covering(samples))


def find_avatar(name: str) -> tuple[Library, AvatarManifest]:
    """The library that holds an avatar, and its manifest; `name` is an id or the path of an avatar's folder."""
    from being.avatar.folder import MANIFEST, read_manifest
    from being.avatar.library import Library, default_paths

    folder = Path(name)
    if folder.name != name or (folder / MANIFEST).is_file():
        read_manifest(folder)  # says what is wrong with the folder as the user named it
        library = Library([folder.resolve().parent, *default_paths()])
        name = folder.resolve().name
    else:
        library = Library()
    return library, library.get(name).manifest


def parse_emotion(text: str) -> tuple[str, float]:
    """Name and strength of "smile=0.8"; a name alone is meant wholly."""
    name, given, strength = text.partition("=")
    try:
        return name.strip(), float(strength) if given else 1.0
    except ValueError as error:
        raise InputError(f"emotion {text!r} is not NAME=STRENGTH", "Write it like smile=0.8") from error
