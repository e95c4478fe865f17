"""The head's poses by points of the head itself, for which its mask must be known; also under a camera that zooms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from being.capture.background.plate import Pictures
from being.capture.background.zoom import zoom_of
from being.capture.landmarks.tracking import Track
from being.capture.pose.head_points import HeadPoints, follow_head
from being.capture.pose.refinement import refine_pose
from being.capture.pose.solve import PoseSolution, ordinary_frame, solve_pose
from being.capture.pose.zoomed import of_one_camera, without_zoom
from being.progress import Progress, Silent

ZOOM_SHARE = 0.3  # of the work, where a camera moves


def head_pose(
    pictures: Pictures,
    labels: Pictures,
    track: Track,
    known: PoseSolution,
    breaks: NDArray[np.bool_] | None = None,
    camera_moves: bool = False,
    focal: float | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> PoseSolution:
    """The solution `known` of the mesh alone, set right.

    Parameters
    ----------
    pictures : T of them, RGB (H, W, 3). labels : (H, W) each. track : of the same frames.
    breaks : (T - 1,) frames after which time does not go on. camera_moves : whether it may zoom, too. focal : as
    `solve_pose`.
    """
    progress = progress or Silent()
    height, width = pictures[0].shape[:2]
    zoom = None
    if camera_moves:
        depths = known.poses[:, 2, 3].astype(np.float64)
        zoom = zoom_of(pictures, labels, depths, workers, lambda done: progress.update(ZOOM_SHARE * done))
    seen = np.flatnonzero(track.found)
    reference = int(seen[ordinary_frame(known.poses[seen].astype(np.float64))])
    begun = ZOOM_SHARE if camera_moves else 0.0
    points = follow_head(
        pictures,
        labels,
        track.points,
        reference,
        lambda done: progress.update(begun + (1 - begun) * done),
        workers,
    )
    if zoom is None:
        return refine_pose(known, track.points, track.found, points, breaks)
    marks = without_zoom(track.points, zoom, width, height)
    points = HeadPoints(without_zoom(points.pixels, zoom, width, height), points.seen, reference)
    solved = solve_pose(marks, track.found, width, height, focal, breaks)
    return of_one_camera(refine_pose(solved, marks, track.found, points, breaks), zoom)
