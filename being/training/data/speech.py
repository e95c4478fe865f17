"""Audio contexts of the footage's frames, and in which frames the person talks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from being.atomic import whole_file
from being.audio.extractors import load_extractor
from being.audio.features import STEPS_PER_FRAME, FeatureSpec
from being.audio.talking import talking_frames
from being.audio.windows import WindowSpec, audio_context, frame_windows, silence_steps
from being.constants import FPS, SAMPLE_RATE
from being.dataset import Dataset
from being.dataset.sound import PRECOMPUTED
from being.dataset.tracking import read_array
from being.errors import InputError
from being.training.config import FitConfig
from being.training.data.rehearsal import Rehearsal, load_rehearsal
from being.training.data.voices import in_other_voices


@dataclass(frozen=True)
class Speech:
    """What the network is fed.

    spec, windows : how live sound is turned into the same numbers. contexts : (T, 8, 16, D). talking : (T,) bool.
    quiet : (T,) in [0, 1], how sure it is that nobody speaks in a frame's 40 ms. T as the frames of the dataset,
    whichever part of the sound they go with. voices : contexts of the same sound in other voices. rehearsal :
    speech that is heard beside it.
    """

    spec: FeatureSpec
    windows: WindowSpec
    contexts: NDArray[np.float32]
    talking: NDArray[np.bool_]
    quiet: NDArray[np.float32]
    voices: tuple[NDArray[np.float32], ...] = ()
    rehearsal: Rehearsal | None = None


def listen(dataset: Dataset, config: FitConfig, cache: Path) -> Speech:
    """Features of `aud.wav` for every frame; kept in the folder `cache` under the hash of the sound and the settings.

    Raises InputError for an unknown feature or one that needs another look-ahead; FormatError for a damaged file.
    """
    windows = WindowSpec(look_ahead=config.look_ahead)
    spec = FeatureSpec(name=config.features)
    sound_frames = sound_frames_of(dataset)
    count = int(sound_frames.max()) + 1
    talking = talking_frames(dataset.audio, count)[sound_frames]
    names = PRECOMPUTED.get(config.features, ())
    name = next((n for n in names if (dataset.path / n).exists()), None)
    if config.features == "deepspeech" or (name is not None and config.look_ahead == "published"):
        if config.look_ahead != "published":
            raise InputError(
                f"{config.features} windows are centred on their frame, look-ahead {config.look_ahead} cannot be kept",
                "Use --look-ahead published, or --features phones",
            )
        stored = dataset.features(name or names[0])
        centred = stored[np.minimum(np.arange(count), len(stored) - 1)]
        contexts = audio_context(centred, windows)[sound_frames]
        return Speech(spec, windows, contexts, talking, 1 - talking.astype(np.float32))
    extractor = load_extractor(spec)
    digest = hashlib.sha256(np.ascontiguousarray(dataset.audio).tobytes() + spec.model_dump_json().encode()).hexdigest()
    stored_at = cache / f"features-{spec.name}-{digest[:16]}.npy"
    wanted = STEPS_PER_FRAME * count + max(0, windows.last_step_offset)
    steps: NDArray[np.float32] = np.empty((0, extractor.width), np.float32)
    if stored_at.exists():
        steps = read_array(stored_at, (None, extractor.width)).astype(np.float32)
    if len(steps) != wanted:
        # Beyond the clip's end stands silence, as it does live.
        steps = extractor(dataset.audio, 0, wanted)
        with whole_file(stored_at) as partial, partial.open("wb") as file:
            np.save(file, steps)
    silence = silence_steps(extractor)

    def contexts_of(steps: NDArray[np.float32]) -> NDArray[np.float32]:
        found = audio_context(frame_windows(steps, count, windows, silence), windows, silence)[sound_frames]
        return np.ascontiguousarray(found, np.float32)

    voices = tuple(map(contexts_of, in_other_voices(extractor, dataset.audio, wanted, config.sound_rates)))
    quiet = 1 - talking.astype(np.float32)
    if spec.name == "phones":  # its first number is the posterior of silence: finer than loudness, deaf to the room
        quiet = steps[: STEPS_PER_FRAME * count, 0].reshape(count, STEPS_PER_FRAME).mean(1)[sound_frames]
    rehearsal = load_rehearsal(extractor, windows) if config.rehearsal else None
    return Speech(spec, windows, contexts_of(steps), talking, quiet, voices, rehearsal)


def sound_frames_of(dataset: Dataset) -> NDArray[np.int64]:
    """(T,) which 25th of a second of the sound each frame goes with; none beyond what there is of sound or frames."""
    length = max(dataset.frames, -(-len(dataset.audio) * FPS // SAMPLE_RATE))
    return np.minimum(dataset.sound_frames, length - 1)
