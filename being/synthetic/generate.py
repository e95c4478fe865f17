"""Footage with exact truth: a performance drawn into a talking-portrait folder.

Beside what published folders hold it writes `truth.npz` and `performance.npz`. A run that was cut short goes on where
it stopped when it is started again with the same performance.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from being.audio.visemes import VISEMES
from being.dataset.writer import DatasetWriter
from being.errors import InputError
from being.synthetic import rig
from being.synthetic.camera import Filming, film_with
from being.synthetic.frame import SyntheticFrame, frame_truth, render_frame, render_in_room
from being.synthetic.looks import FIRST
from being.synthetic.motion import FPS
from being.synthetic.mouth import CONTROLS
from being.synthetic.performance import Performance, plan
from being.synthetic.room import developed, draw_room
from being.synthetic.script import ENGLISH
from being.synthetic.tracing import draw_backdrop, intrinsics
from being.synthetic.voice import default_voices

Progress = Callable[[int, int], None]
SMALLEST, LARGEST = 16, 4096  # pixels a side


def generate(
    out: Path | str,
    seconds: float = 60.0,
    seed: int = 0,
    size: tuple[int, int] = (512, 512),
    workers: int | None = None,
    voices: Sequence[str] | None = None,
    performance: Performance | None = None,
    video: Path | str | None = None,
    progress: Progress | None = None,
    camera: str | None = None,
    language: str = ENGLISH,
    look: str = FIRST,
) -> Path:
    """Write a dataset folder of the synthetic person.

    Parameters
    ----------
    out : the folder; an interrupted run of the same performance in it is continued.
    seconds, seed, voices, language, look : of the clip, see `performance.plan`; not used when `performance` is given.
    size : width and height, pixels. workers : threads, default one a processor (the kernels release the GIL).
    video : also write an MP4 with the sound here. progress : called with (frames done, frames in all).
    camera : films in a furnished room, with mattes: still, hand, pan, zoom or follow, see `camera.film_with`. Left out,
        a still one films in the plain studio.

    Raises
    ------
    InputError
        The folder holds another clip or a finished one, cannot be written, or a number makes no sense.
    """
    root, (width, height) = Path(out), size
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise InputError(f"size is {width}x{height}", f"Give between {SMALLEST} and {LARGEST} pixels a side")
    clip = performance or _begun(root, seconds, seed, voices or default_voices(language), look)
    clip = clip or plan(seconds, seed, voices, language=language, look=look)
    focal, _, cx, cy = intrinsics(width, height)
    filming = None if camera is None else film_with(camera, clip.head, width, height, int(clip.seed))
    writer = DatasetWriter(root, width, height, focal, cx, cy).prepare()
    _claim(root, clip)
    todo = [i for i in range(clip.frames) if not (root / "ori_imgs" / f"{i}.lms").exists()]
    done = clip.frames - len(todo)
    if progress:
        progress(done, clip.frames)

    def work(index: int) -> None:
        frame = render_as_filmed(clip, index, width, height, filming)
        writer.frame(index, frame.image, frame.parsing, frame.landmarks, composited=frame.composited, alpha=frame.alpha)

    if todo:  # the first call compiles the kernels, before threads would all wait for it
        work(todo[0])
        done += 1
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            jobs = [pool.submit(work, i) for i in todo[1:]]
            try:
                for job in as_completed(jobs):
                    job.result()
                    done += 1
                    if progress:
                        progress(done, clip.frames)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    known = truth(clip, width, height, filming)
    np.savez_compressed(root / "truth.npz", **known)
    writer.finish(
        audio=clip.pcm,
        background=draw_backdrop(width, height, clip.person)
        if filming is None
        else developed(draw_room(width, height, known["intrinsics"])),
        head_poses=known["head_pose"],
        torso_poses=known["torso_pose"],
        eyes=clip.blink,
        camera_moves=camera not in (None, "still"),
    )
    if video is not None:
        write_video(root, Path(video), clip)
    return root


def _begun(root: Path, seconds: float, seed: int, voices: Sequence[str], look: str) -> Performance | None:
    """The clip an interrupted run left here, if it is the one asked for: espeak's sound never repeats exactly."""
    if not (root / "performance.npz").exists():
        return None
    clip = Performance.load(root / "performance.npz")
    same = set(clip.span_voices.tolist()) <= set(voices) and str(clip.look) == look and int(clip.seed) == seed
    return clip if same and clip.frames == round(seconds * FPS) else None


def _claim(root: Path, clip: Performance) -> None:
    """Note which clip the folder is for; refuse when it is for another."""
    path = root / "performance.npz"
    if not path.exists():
        clip.save(path)
        return
    old = Performance.load(path)
    if any(not np.array_equal(getattr(old, f.name), getattr(clip, f.name)) for f in fields(Performance)):
        raise InputError(f"{root} holds the beginning of another clip", "Choose another folder or delete it first")


def render_as_filmed(clip: Performance, index: int, width: int, height: int, filming: Filming | None) -> SyntheticFrame:
    """Draw a frame: in the studio, or as a camera films it in the room."""
    if filming is None:
        return render_frame(clip.state(index), width, height)
    return render_in_room(clip.state(index), width, height, filming.camera(index), filming.poses[index])


def truth(clip: Performance, width: int, height: int, filming: Filming | None = None) -> dict[str, NDArray]:
    """Everything known of a clip at a picture size, as named arrays over its T frames, E phones and U utterances.

    landmarks (T, 68, 2) px, visible (T, 68), mouth_open (T,) px between the inner lips, lips_closed (T,), blink (T,),
    eye_open (T,), gaze (T, 2) rad, head_pose and torso_pose (T, 3, 4), viseme_weights (T, 15) with viseme_names,
    controls (T, 9) with control_names, talking (T,), event_times (E, 2) s, event_visemes (E,), event_phones (E,),
    event_stress (E,), spans (U, 2) s, span_voices (U,), texts (U,), intrinsics (4,) px, size (2,), rest_pose, seed.

    Where a camera of its own films: poses as a tracker with fixed intrinsics would have them, and also camera_pose
    (T, 3, 4) from the still camera's space to the camera's, camera_intrinsics (T, 4) px.
    """
    head, torso = clip.head, clip.torso
    fixed = np.array(intrinsics(width, height), np.float32)
    moving: dict[str, NDArray] = {}
    if filming is None:
        frames = [frame_truth(clip.state(i), width, height) for i in range(clip.frames)]
    else:
        head, torso = (filming.tracked(filming.sees(poses), fixed).astype(np.float32) for poses in (head, torso))
        seen = [replace(clip.state(i), head=pose) for i, pose in enumerate(filming.sees(clip.head))]
        frames = [frame_truth(state, width, height, filming.camera(i)) for i, state in enumerate(seen)]
        moving = {"camera_pose": filming.poses, "camera_intrinsics": filming.intrinsics}
    return {
        **moving,
        "landmarks": np.stack([f.landmarks for f in frames]).astype(np.float32),
        "visible": np.stack([f.visible for f in frames]),
        "mouth_open": np.array([f.mouth_open for f in frames], np.float32),
        "lips_closed": np.array([f.lips_closed for f in frames]),
        "blink": clip.blink,
        "eye_open": 1.0 - clip.blink,
        "gaze": clip.gaze,
        "head_pose": head,
        "torso_pose": torso,
        "viseme_weights": clip.viseme_weights,
        "viseme_names": np.array(VISEMES),
        "controls": clip.controls,
        "control_names": np.array(CONTROLS),
        "talking": clip.talking,
        "event_times": clip.event_times,
        "event_visemes": clip.event_visemes,
        "event_phones": clip.event_phones,
        "event_stress": clip.event_stress,
        "spans": clip.spans,
        "span_voices": clip.span_voices,
        "texts": clip.texts,
        "intrinsics": fixed,
        "size": np.array((width, height)),
        "seed": clip.seed,
        "rest_pose": rig.rest_pose().astype(np.float32),
    }


def write_video(root: Path, path: Path, clip: Performance, crf: int = 16) -> None:
    """The folder's pictures and the sound as an MP4 (H.264, AAC)."""
    import av
    from PIL import Image

    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "medium"})
        sound = container.add_stream("aac", rate=48_000, layout="mono", options={"b": "128k"})
        first = np.asarray(Image.open(root / "ori_imgs" / "0.png"))
        picture.height, picture.width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2
        picture.pix_fmt = "yuv420p"
        for i in range(clip.frames):
            pixels = np.asarray(Image.open(root / "ori_imgs" / f"{i}.png"))[: picture.height, : picture.width]
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(picture.encode(None))
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=48_000)
        frame = av.AudioFrame.from_ndarray(clip.pcm[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        frame.pts, frame.time_base = 0, Fraction(1, 16_000)  # without, what the codec puts before it is not declared
        for out in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(sound.encode(out))
        container.mux(sound.encode(None))
