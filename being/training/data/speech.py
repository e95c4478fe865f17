"""The sound of the footage as the network hears it, and who was talking when."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from being.audio.features import STEPS_PER_FRAME, FeatureSpec, load_extractor
from being.audio.windows import WindowSpec, audio_context, frame_windows, silence_steps
from being.dataset import Dataset
from being.dataset.folder import FPS, SAMPLE_RATE
from being.dataset.tracking import read_array
from being.errors import InputError
from being.training.config import FitConfig

# Features that come as a file of the dataset: deepspeech always, wav2vec2 where there is one (and it is centred).
PRECOMPUTED = {"deepspeech": ("aud_ds.npy", "aud.npy"), "wav2vec2": ("aud_eo.npy",)}
SILENCE_BELOW_PEAK_DB = 35.0  # quieter than the loud frames by this much: nobody talks
BRIDGED_S = 0.4  # pauses shorter than this are part of talking


@dataclass(frozen=True)
class Speech:
    """What the network is fed.

    spec, windows : how live sound is turned into the same numbers. contexts : (T, 8, 16, D). talking : (T,) bool.
    """

    spec: FeatureSpec
    windows: WindowSpec
    contexts: NDArray[np.float32]
    talking: NDArray[np.bool_]


def listen(dataset: Dataset, config: FitConfig, cache: Path) -> Speech:
    """Features of `aud.wav` for every frame; kept in the folder `cache` under the hash of the sound and the settings.

    Raises InputError for an unknown feature or one that needs another look-ahead; FormatError for a damaged file.
    """
    windows = WindowSpec(look_ahead=config.look_ahead)
    spec = FeatureSpec(name=config.features)
    talking = talking_frames(dataset.audio, dataset.frames)
    names = PRECOMPUTED.get(config.features, ())
    name = next((n for n in names if (dataset.path / n).exists()), None)
    if config.features == "deepspeech" or (name is not None and config.look_ahead == "published"):
        if config.look_ahead != "published":
            raise InputError(
                f"{config.features} windows are centred on their frame, look-ahead {config.look_ahead} cannot be kept",
                "Use --look-ahead published, or --features phones",
            )
        stored = dataset.features(name or names[0])
        centred = stored[np.minimum(np.arange(dataset.frames), len(stored) - 1)]
        return Speech(spec, windows, audio_context(centred, windows), talking)
    extractor = load_extractor(spec)
    digest = hashlib.sha256(np.ascontiguousarray(dataset.audio).tobytes() + spec.model_dump_json().encode()).hexdigest()
    stored_at = cache / f"features-{spec.name}-{digest[:16]}.npy"
    count = STEPS_PER_FRAME * dataset.frames + max(0, windows.last_step_offset)
    steps: NDArray[np.float32] = np.empty((0, extractor.width), np.float32)
    if stored_at.exists():
        steps = read_array(stored_at, (None, extractor.width)).astype(np.float32)
    if len(steps) != count:
        # Beyond the clip's end stands silence, as it does live.
        steps = extractor(dataset.audio, 0, count)
        partial = stored_at.with_suffix(".partial.npy")
        np.save(partial, steps)
        os.replace(partial, stored_at)
    silence = silence_steps(extractor)
    contexts = audio_context(frame_windows(steps, dataset.frames, windows, silence), windows, silence)
    return Speech(spec, windows, np.ascontiguousarray(contexts, np.float32), talking)


def talking_frames(audio: NDArray[np.float32], frames: int) -> NDArray[np.bool_]:
    """Which frames are talked in, from the sound's level: (S,) at 16 kHz -> (T,) bool."""
    a_frame = SAMPLE_RATE // FPS
    sound = np.pad(audio, (0, max(0, frames * a_frame - len(audio))))[: frames * a_frame]
    level = 10 * np.log10((sound.reshape(frames, a_frame).astype(np.float64) ** 2).mean(1) + 1e-10)
    loud = level > max(float(np.percentile(level, 95)) - SILENCE_BELOW_PEAK_DB, -70.0)
    bridge = round(BRIDGED_S * FPS)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], loud, [True]]).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start < bridge and start > 0 and stop < frames:
            loud[start:stop] = True
    return loud
