"""Do the lips follow a voice that nothing was trained on? The avatar against the synthetic truth, seen by MediaPipe.

Three measurements on the avatar that ships (or any avatar of the synthetic person):

1. A held-out espeak-ng voice says sentences of its own. Truth (the synthetic person, ray traced) and avatar (driven by
   the sound alone, at the truth's head poses) are looked at by the same face mesh: distance of the 20 mouth landmarks,
   and lips closed in p, b, m. The threshold of "closed" is where the mesh separates the truth's closed and open lips.
2. A recording of real speech (--speech): correlation of the mouth opening with loudness (in decibels over a range of
   40, and as plain RMS), and its best lag, beside what the truth shows by the same measure on its own speech.
3. Silence after that speech: the opening as a share of its talking maximum.

    python benchmarks/lips.py --speech talk.wav --out lips.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from loudness import correlation, decibels, loudness

from being.audio.extractors import load_extractor
from being.audio.features import FeatureExtractor
from being.audio.phones_training.voices import HELD_OUT_VOICES
from being.audio.windows import file_contexts
from being.avatar.library import Library
from being.avatar.schema import AvatarManifest
from being.inference.engine import Engine
from being.inference.frames import Drive
from being.inference.motion import MotionPlayer
from being.media.reading.sound_reader import open_sound
from being.synthetic import perform, render

FPS = 25
# MediaPipe's face mesh: the 20 mouth points of the 68 (iBUG 49-68), and the middle of the inner lips.
MOUTH = (61, 40, 37, 0, 267, 270, 291, 321, 405, 17, 181, 91, 78, 81, 13, 311, 308, 402, 14, 178)
UPPER, LOWER = 13, 14
# Sentences that appear in no training script; many p, b, m.
SENTENCES = (
    "Maybe Bob and Pam will pop up by the pub at about half past nine.",
    "My mother's apple pie has been the best thing on the table since September.",
    "Could you possibly bring me a map of the big museum, and a cup of warm milk?",
)

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


class Watcher:
    """MediaPipe's face mesh in tracking mode: pictures in time order -> (478, 2) pixels."""

    def __init__(self) -> None:
        from mediapipe.python.solutions.face_mesh import FaceMesh

        self._mesh = FaceMesh(static_image_mode=False, max_num_faces=1, refine_landmarks=True)

    def see(self, image: Image) -> Floats:
        """NaN where no face is found."""
        found = self._mesh.process(np.ascontiguousarray(image)).multi_face_landmarks
        if not found:
            return np.full((478, 2), np.nan)
        size = np.array([image.shape[1], image.shape[0]])
        return np.array([(p.x, p.y) for p in found[0].landmark]) * size


def watch(images: Iterator[Image]) -> Floats:
    """(T, 478, 2) of a video."""
    watcher = Watcher()
    return np.stack([watcher.see(image) for image in images])


def opening(points: Floats) -> Floats:
    """points (T, 478, 2) -> (T,) pixels between the inner lips."""
    return np.linalg.norm(points[:, UPPER] - points[:, LOWER], axis=1)


def rendered(engine: Engine, drives: list[Drive], batch: int = 16) -> Iterator[Image]:
    for first in range(0, len(drives), batch):
        for record in engine.render(drives[first : first + batch]):
            if record.image is None:
                raise click.ClickException(record.error or "a frame could not be drawn")
            yield record.image


def follow(mouth: Floats, sound: Floats, reach: int = 8) -> tuple[float, int]:
    """The best correlation over lags of -reach..reach frames and its lag; positive: the mouth comes after the sound."""
    scores = {}
    for lag in range(-reach, reach + 1):
        scores[lag] = correlation(mouth, sound, lag)
    best = max(scores, key=lambda lag: scores[lag])
    return scores[best], best


def closed_share(gaps: Floats, spans: list[tuple[float, float]], threshold: float) -> float:
    """Share of closures in which at least one frame shows closed lips."""
    hits = 0
    for start, end in spans:
        middles = (np.arange(len(gaps)) + 0.5) / FPS
        inside = np.flatnonzero((middles >= start - 0.5 / FPS) & (middles <= end + 0.5 / FPS))
        hits += bool(len(inside)) and bool((gaps[inside] < threshold).any())
    return hits / len(spans) if spans else float("nan")


def untrained_voice(
    engine: Engine, manifest: AvatarManifest, voice: str, extractor: FeatureExtractor
) -> dict[str, Any]:
    """Measurement 1 for one voice."""
    spec = manifest.windows
    rows: dict[str, list[Any]] = {k: [] for k in ("to_truth", "to_exact", "mesh_itself", "gap", "true_gap", "closed")}
    spans: list[tuple[float, float]] = []
    by_db, by_rms, offset = [], [], 0.0
    for seed, text in enumerate(SENTENCES):
        truth = perform(text, voice, seed=100 + seed)
        contexts = file_contexts(truth.pcm, extractor, spec, truth.frames)
        drives = [
            Drive(manifest.id, contexts[t], float(truth.blink[t]), truth.head[t], truth.torso[t], width=512, height=512)
            for t in range(truth.frames)
        ]
        frames = [render(truth, t, 512, 512) for t in range(truth.frames)]
        seen_truth = watch(frame.image for frame in frames)
        seen = watch(rendered(engine, drives))
        exact = np.stack([frame.landmarks[48:68] for frame in frames])
        mouth, mouth_truth = seen[:, MOUTH], seen_truth[:, MOUTH]
        rows["to_truth"].append(np.linalg.norm(mouth - mouth_truth, axis=2))
        rows["to_exact"].append(np.linalg.norm(mouth - exact, axis=2))
        rows["mesh_itself"].append(np.linalg.norm(mouth_truth - exact, axis=2))
        rows["gap"].append(opening(seen))
        rows["true_gap"].append(opening(seen_truth))
        rows["closed"].append(np.array([frame.lips_closed for frame in frames]))
        spans += [(a + offset, b + offset) for a, b in truth.closures()]
        spoken = slice(int(truth.spans[0][0] * FPS), int(truth.spans[0][1] * FPS))
        mouth_open = np.array([f.mouth_open for f in frames])[spoken]
        sound = loudness(truth.pcm, truth.frames)[spoken]
        by_db.append(follow(mouth_open, decibels(sound)))
        by_rms.append(follow(mouth_open, sound))
        offset += truth.frames / FPS
    to_truth, to_exact, itself, gap, true_gap, closed = (np.concatenate(rows[k]) for k in rows)
    # "Closed" for the mesh: the threshold that best tells the truth's closed frames from its open ones.
    candidates = np.linspace(0.0, 8.0, 161)
    accuracy = [((true_gap < c) == closed).mean() for c in candidates]
    threshold = float(candidates[int(np.argmax(accuracy))])
    return {
        "frames": len(gap),
        "face_found": float(np.isfinite(gap).mean()),
        "face_found_in_truth": float(np.isfinite(true_gap).mean()),
        "mouth_landmarks_px": float(np.nanmean(to_truth)),
        "mouth_landmarks_p95_px": float(np.nanpercentile(to_truth, 95)),
        "mouth_landmarks_to_exact_px": float(np.nanmean(to_exact)),
        "mesh_on_truth_to_exact_px": float(np.nanmean(itself)),
        "closed_below_px": threshold,
        "closures": len(spans),
        "closures_shut": closed_share(gap, spans, threshold),
        "closures_shut_in_truth": closed_share(true_gap, spans, threshold),
        "open_frames_called_shut": float((gap[true_gap > threshold + 3] < threshold).mean()),
        "opening_correlation_with_truth": float(np.corrcoef(gap, true_gap)[0, 1]),
        "truth_loudness_db_correlation": float(np.mean([c for c, _ in by_db])),
        "truth_loudness_rms_correlation": float(np.mean([c for c, _ in by_rms])),
        "truth_lag_frames": [lag for _, lag in by_db],
    }


def real_speech(
    engine: Engine, manifest: AvatarManifest, pcm: npt.NDArray[np.float32], extractor: FeatureExtractor
) -> dict[str, Any]:
    """Measurements 2 and 3."""
    spec = manifest.windows
    silence = 3 * 16_000
    sound = np.concatenate([pcm, np.zeros(silence, np.float32)])
    contexts = file_contexts(sound, extractor, spec)
    player = MotionPlayer(engine.prepare(manifest.id).avatar.motion, seed=0)
    still = player.pose(0, False)
    drives = [
        Drive(manifest.id, context, 0.0, still.head_pose, still.torso_pose, width=512, height=512)
        for context in contexts
    ]
    gap = opening(watch(rendered(engine, drives)))
    spoken = len(pcm) * FPS // 16_000
    sound_rms = loudness(pcm, spoken)
    correlation, lag = follow(gap[:spoken], decibels(sound_rms))
    talking = float(np.nanpercentile(gap[:spoken], 99.5))
    settled = gap[spoken + 8 : spoken + 75]  # a mouth needs 0.3 s to shut
    return {
        "frames": spoken,
        "loudness_db_correlation": correlation,
        "loudness_rms_correlation": follow(gap[:spoken], sound_rms)[0],
        "lag_frames": lag,
        "talking_max_px": talking,
        "silence_max_px": float(np.nanmax(settled)),
        "silence_share_of_max": float(np.nanmax(settled) / talking),
    }


@click.command(help=__doc__)
@click.option("--avatar", default="demo", show_default=True)
@click.option("--voice", "voices", multiple=True, help="Held-out voices; default: those phones was tested on.")
@click.option("--speech", type=click.Path(exists=True, path_type=Path), help="A recording of real speech.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON of all figures.")
def main(avatar: str, voices: tuple[str, ...], speech: Path | None, out: Path | None) -> None:
    engine = Engine(Library())
    manifest = engine.prepare(avatar).avatar.manifest
    extractor = load_extractor(manifest.features)
    results: dict[str, Any] = {"avatar": avatar, "form": manifest.approximation, "voices": {}}
    for voice in voices or HELD_OUT_VOICES[-1:]:
        results["voices"][voice] = row = untrained_voice(engine, manifest, voice, extractor)
        click.echo(f"{voice}: " + json.dumps(row, indent=2))
    if speech is not None:
        results["speech"] = row = real_speech(engine, manifest, open_sound(speech).model_pcm(), extractor)
        for scale in ("db", "rms"):
            truth = np.mean([r[f"truth_loudness_{scale}_correlation"] for r in results["voices"].values()])
            row[f"share_of_truth_{scale}"] = row[f"loudness_{scale}_correlation"] / float(truth)
        click.echo(f"{speech.name}: " + json.dumps(row, indent=2))
    if out is not None:
        out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
