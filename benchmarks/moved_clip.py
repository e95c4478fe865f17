"""A real video made to look as if its camera had moved: a window that shakes, pans, zooms or follows the face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MOTIONS = ("hand", "pan", "zoom", "follow")
WINDOW = 0.86  # share of the picture that the window shows


def windows(motion: str, frames: int, size: tuple[int, int], faces: NDArray[np.float64]) -> NDArray[np.float64]:
    """Left, top and scale (T, 3) of the window in pictures of `size` (width, height); faces (T, 2) pixels."""
    from being.synthetic.motion import wander

    rng = np.random.default_rng([7, MOTIONS.index(motion)])
    seconds = np.arange(frames) / 25
    room = np.array(size) * (1 - WINDOW) / 2
    at = np.zeros((frames, 2))
    scale = np.full(frames, WINDOW)
    if motion == "hand":
        slow = np.stack([wander(rng, frames, 2.0) for _ in range(2)], 1)
        fast = np.stack([wander(rng, frames, 0.35) for _ in range(2)], 1)
        at = np.clip(0.4 * slow + 0.06 * fast, -1, 1) * room
    elif motion == "pan":
        at[:, 0] = np.sin(2 * np.pi * seconds / 6) * room[0]
    elif motion == "zoom":
        scale = WINDOW + (1 - WINDOW) * np.sin(2 * np.pi * seconds / 5) * 0.95
    else:
        at = np.clip(faces - faces.mean(axis=0), -room, room)
    corner = np.array(size) * (1 - scale[:, None]) / 2 + at
    return np.concatenate([corner, scale[:, None]], 1)


def move(source: Path, target: Path, motion: str) -> None:
    """Write `source` through a moving window, with its sound."""
    import av
    import cv2

    from being.capture.landmarks.tracking import track_landmarks
    from being.capture.video.reader import open_footage

    footage = open_footage(source)
    track = track_landmarks(footage)
    faces = track.points[:, 1, :2].astype(np.float64)
    size = (footage.width, footage.height)
    path = windows(motion, len(faces), size, faces)
    width, height = (int(side * WINDOW) // 2 * 2 for side in size)
    with av.open(str(target), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "14", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        for picture, (x, y, scale) in zip(footage, path, strict=False):
            grow = scale / WINDOW
            place = np.array([[grow, 0, x], [0, grow, y]])
            seen = cv2.warpAffine(
                picture,
                place,
                (width, height),
                flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(seen), format="rgb24")))
        container.mux(video.encode(None))
        chunk = av.AudioFrame.from_ndarray(footage.sound()[None].astype(np.float32), format="fltp", layout="mono")
        chunk.sample_rate = 16_000
        container.mux(sound.encode(chunk))
        container.mux(sound.encode(None))
