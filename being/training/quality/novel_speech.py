"""The avatar driven by sound it was not trained on: a clip to look at, and how much the rest of the body flickers.

Speech may move the face. Where two different speeches over the same motion draw different necks and shoulders, the
sound leaks into what should hold still, and it is seen as flicker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from being.audio.extractors import load_extractor
from being.audio.talking import talking_frames
from being.audio.windows import file_contexts
from being.avatar.motion import Motion
from being.constants import FPS, SAMPLE_RATE
from being.dataset.parsing import HEAD, NECK, TORSO
from being.dataset.sound import read_wav
from being.errors import MissingDependencyError
from being.inference.motion import MotionPlayer
from being.model import DeformationNetwork, Gaussians, camera_code
from being.samples import HELLO
from being.training.data.footage import Footage
from being.training.data.speech import PRECOMPUTED, Speech
from being.training.model.drawing import RenderSettings, draw

FLICKER_FRAMES = 24  # frames of motion over which speeches are compared
CHUNK = 4  # frames drawn at once
GREY = 255.0  # levels of full scale

Contexts = NDArray[np.float32]


@dataclass(frozen=True)
class Flicker:
    """Mean difference between speeches over the same motion, in grey levels (of 255), by part of the person."""

    head: float
    neck: float
    torso: float


def contexts_of(speech: Speech, pcm: NDArray[np.float32], frames: int | None = None) -> Contexts | None:
    """Contexts (T, 8, 16, D) of sound (S,) at 16 kHz; None for features that only exist as a file of the footage."""
    if speech.spec.name in PRECOMPUTED:
        return None
    return file_contexts(pcm, load_extractor(speech.spec), speech.windows, frames)


def three_speeches(pcm: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """One recording begun at its start, after a third and after two thirds: three speeches that differ at any time."""
    return [np.roll(pcm, -len(pcm) * part // 3) for part in range(3)]


@torch.no_grad()
def flicker(
    gaussians: Gaussians,
    network: DeformationNetwork,
    footage: Footage,
    settings: RenderSettings,
    voices: Sequence[Contexts],
    frames: int = FLICKER_FRAMES,
) -> Flicker:
    """Draw the same motion under every voice and compare each pair where the masks show head, neck and torso.

    The motion is that of `frames` training frames, in order; voice k drives frame i by its own context i.
    """
    train = footage.train
    chosen = [train[i] for i in np.linspace(0, len(train) - 1, min(frames, len(train))).round().astype(int)]
    moment = [np.linspace(0, len(voice) - 1, len(chosen)).round().astype(int) for voice in voices]
    total, pixels = np.zeros(3), np.zeros(3)
    for place in range(0, len(chosen), CHUNK):
        batch = footage.batch(chosen[place : place + CHUNK])
        drawn = []
        for voice, when in zip(voices, moment, strict=True):
            audio = torch.from_numpy(voice[when[place : place + CHUNK]]).to(footage.device)
            drawn.append(draw(gaussians, network, replace(batch, audio=audio), settings).rgb.clamp(0, 1))
        pairs = [(a, b) for i, a in enumerate(drawn) for b in drawn[:i]]
        difference = torch.stack([(a - b).abs().mean(-1) for a, b in pairs]).mean(0) * GREY
        for index, label in enumerate((HEAD, NECK, TORSO)):
            where = batch.labels == label
            total[index] += float(difference[where].sum())
            pixels[index] += int(where.sum())
    head, neck, torso = (float(value) for value in total / np.maximum(pixels, 1))
    return Flicker(head, neck, torso)


@torch.no_grad()
def speak(
    gaussians: Gaussians,
    network: DeformationNetwork,
    footage: Footage,
    settings: RenderSettings,
    contexts: Contexts,
    motion: Motion,
    talking: NDArray[np.bool_],
) -> Iterator[NDArray[np.uint8]]:
    """RGB frames (H, W, 3) of the avatar saying what `contexts` (T, 8, 16, D) hold, moving as it was recorded."""
    moves, _ = MotionPlayer(motion).sequence(talking[: len(contexts)])
    device = footage.device
    for start in range(0, len(contexts), CHUNK):
        part = slice(start, start + CHUNK)
        heads = torch.from_numpy(moves.head_pose[part]).to(device)
        batch = footage.batch([footage.train[0]] * len(heads))
        moved = replace(
            batch,
            head_pose=heads,
            torso_pose=torch.from_numpy(moves.torso_pose[part]).to(device),
            eye=torch.from_numpy(moves.eye[part])[:, None].to(device),
            camera=camera_code(heads),
            audio=torch.from_numpy(contexts[part]).to(device),
            expression=torch.from_numpy(moves.emotion[part]).to(device),
        )
        rgb = draw(gaussians, network, moved, settings).rgb.clamp(0, 1)
        yield from (rgb * 255).round().byte().cpu().numpy()


def sample_sentence() -> NDArray[np.float32]:
    """The sentence that comes with the package, 16 kHz mono (S,)."""
    return read_wav(HELLO)


def write_clip(path: Path, frames: Sequence[NDArray[np.uint8]], pcm: NDArray[np.float32]) -> bool:
    """An MP4 of the frames with their sound; False where PyAV, which writes it, is not installed."""
    try:
        from being.constants import SOUND_RATE
        from being.media import StreamFormat, open_writer
    except ImportError:
        return False
    height, width = frames[0].shape[:2]
    even = (slice(0, height - height % 2), slice(0, width - width % 2))
    format = StreamFormat(width - width % 2, height - height % 2)
    try:
        writer = open_writer(path, format, overwrite=True)
    except (ImportError, MissingDependencyError):
        return False
    with writer:
        for index, frame in enumerate(frames):
            writer.write_frame(np.ascontiguousarray(frame[even]), index)
        sound = resample_poly(pcm, SOUND_RATE // SAMPLE_RATE, 1).astype(np.float32)
        writer.write_sound(sound[: len(frames) * SOUND_RATE // FPS])
    return True


def talking_in(pcm: NDArray[np.float32], frames: int) -> NDArray[np.bool_]:
    """Which of T frames are talked in, (T,)."""
    return talking_frames(pcm, frames)
