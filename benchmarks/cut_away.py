"""A film that cuts to another scene and back: an empty room, panned over, with nobody speaking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

AT, LASTS = 130, 50  # frames: where the other scene comes in, and how long it is


def cut_away(source: Path, target: Path) -> None:
    """Write `source` with the other scene in it, and silence in its sound."""
    import av

    from being.capture.video.reader import open_footage

    footage = open_footage(source)
    size = footage.width, footage.height
    heard = footage.sound()
    sound = np.concatenate([heard[: AT * 640], np.zeros(LASTS * 640, np.float32), heard[AT * 640 :]])
    with av.open(str(target), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "16", "preset": "medium"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        tone = container.add_stream("aac", rate=16_000, layout="mono")
        for number, picture in enumerate(footage):
            for shown in (*(other_scene(size) if number == AT else ()), picture):
                container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), format="rgb24")))
        container.mux(video.encode(None))
        chunk = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        chunk.sample_rate = 16_000
        container.mux(tone.encode(chunk))
        container.mux(tone.encode(None))


def other_scene(size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """The room from nearer, the camera turning from the shelf to the door."""
    from scipy.spatial.transform import Rotation

    from being.synthetic.room import developed, draw_room
    from being.synthetic.tracing import intrinsics

    still = np.array(intrinsics(*size))
    views = still * (1.6, 1.6, 1, 1)
    out = []
    for number in range(LASTS):
        pose = np.eye(3, 4)
        pose[:, :3] = Rotation.from_rotvec((0, np.radians(9 - 0.36 * number), 0)).as_matrix()
        out.append(developed(draw_room(*size, views, pose, still)))
    return out


def filmed_before(frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frames of the film with the other scene as frames of the one without; -1 for those of the other scene."""
    numbers = np.where(frames < AT, frames, frames - LASTS)
    return np.where((frames >= AT) & (frames < AT + LASTS), -1, numbers)
