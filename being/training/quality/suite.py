"""The quality suite: lip sync on held-out frames, flicker and novel speech of a finished avatar, and an assessment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from being.dataset import Dataset
from being.errors import BeingError
from being.progress import Progress
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.data.speech import Speech
from being.training.export import recorded_motion
from being.training.model.drawing import RenderSettings
from being.training.quality.assessment import assess, look_at
from being.training.quality.evaluate import Evaluation, draw_frame, mean_psnr
from being.training.quality.lip_sync import LipSync, compare
from being.training.quality.novel_speech import (
    Flicker,
    contexts_of,
    flicker,
    sample_sentence,
    speak,
    talking_in,
    three_speeches,
    write_clip,
)
from being.training.run import TrainingRun
from being.training.schedule import NETWORK

CLIP = "speaks.mp4"
LIP_SYNC_FRAMES = 100  # frames of a held-out block looked at by the tracker, consecutive ones
STRIP_FRAMES = 8  # pictures of the spoken sentence for pages without a player


@dataclass(frozen=True)
class QualityReport:
    """Results of the suite.

    words : the assessment. lip_sync, flicker, clip : None where they could not be measured or written, see `notes`.
    strip : frames of the spoken sentence. notes : what was not done, and why. seconds : time by part.
    """

    words: list[str]
    metrics: dict[str, float]
    lip_sync: LipSync | None = None
    flicker: Flicker | None = None
    clip: Path | None = None
    strip: list[NDArray[np.uint8]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def run_quality_suite(
    run: TrainingRun,
    footage: Footage,
    settings: RenderSettings,
    dataset: Dataset,
    speech: Speech,
    config: FitConfig,
    evaluation: Evaluation,
    work: Path,
    progress: Progress,
) -> QualityReport:
    """Compare mouths, compare speeches, let the avatar speak the sample sentence into `work`, and say what is found.

    With `config.quality_suite` off nothing is rendered: the metrics are the evaluation's, the assessment is the
    footage's.
    """
    gaussians, network = run.gaussians.gaussians(), run.network
    notes: list[str] = []
    seconds: dict[str, float] = {}
    metrics = evaluation.metrics()
    network.eval()

    train = list(footage.train)
    seen = look_at(footage, dataset, float(speech.talking[train].mean()))
    steps = run.steps().get(NETWORK, 0)
    if not config.quality_suite:
        return QualityReport(assess(seen, metrics, None, None, steps), metrics)
    lip_sync = None
    with _timed(seconds, "landmarks"):
        progress.part("landmarks")
        try:
            lip_sync = compare(list(_blocks(run, footage, settings)))
            metrics |= {"mouth_landmarks_px": lip_sync.mouth_px, "landmarks_px": lip_sync.all_px}
            metrics |= {"mouth_opening_correlation": lip_sync.opening_correlation}
        except BeingError as error:
            notes.append(f"Landmarks were not compared: {error}")

    unsteady, clip, strip = None, None, []
    with _timed(seconds, "speak"):
        progress.part("speak")
        pcm = sample_sentence()
        contexts = [contexts_of(speech, sound) for sound in three_speeches(pcm)]
        voices = [context for context in contexts if context is not None]
        if voices:
            unsteady = flicker(gaussians, network, footage, settings, voices)
            metrics |= {f"flicker_{part}": value for part, value in vars(unsteady).items()}
            motion = recorded_motion(footage, dataset, speech)
            frames = []
            said = speak(gaussians, network, footage, settings, voices[0], motion, talking_in(pcm, len(voices[0])))
            for frame in said:
                frames.append(frame)
                progress.update(len(frames) / len(voices[0]))
            strip = [frames[i] for i in np.linspace(0, len(frames) - 1, STRIP_FRAMES).round().astype(int)]
            if write_clip(work / CLIP, frames, pcm):
                clip = work / CLIP
            else:
                notes.append("No film was written: PyAV is not installed (pip install av); here are frames of it.")
        else:
            notes.append(f"{speech.spec.name} cannot be computed for new sound here: no film, and no flicker measured.")

    trained = mean_psnr(footage.train, gaussians, network, footage, settings)
    if trained is not None:
        metrics["trained_psnr"] = trained
    finite = {name: round(float(value), 4) for name, value in metrics.items() if np.isfinite(value)}
    words = assess(seen, finite, trained, unsteady, steps)
    return QualityReport(words, finite, lip_sync, unsteady, clip, strip, notes, seconds)


def _blocks(
    run: TrainingRun, footage: Footage, settings: RenderSettings
) -> Iterator[tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]]:
    """(filmed, drawn) frames of each held-out block, at most LIP_SYNC_FRAMES from its start."""
    for block in (footage.held_out.inner, footage.held_out.end):
        frames = block[:LIP_SYNC_FRAMES]
        drawn = [draw_frame(run.gaussians.gaussians(), run.network, footage, settings, frame) for frame in frames]
        yield [footage.picture(frame) for frame in frames], drawn


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = perf_counter()
    yield
    seconds[name] = perf_counter() - start
