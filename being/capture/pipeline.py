"""Video in, talking-portrait dataset out: every step in order, each kept so that a stopped run goes on.

Order: landmarks, the portrait's place and pictures, head pose by the mesh, labels, plate, head pose by the head's
own points, torso, the pictures made from these, sound and numbers, report. Pictures are on disk and pass through
memory one by one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from being.capture.background.found import BackgroundMotion
from being.capture.background.made_plate import check_background
from being.capture.findings import CaptureReport, count_blinks, face_brightness, find
from being.capture.landmarks.blink import eye_closure
from being.capture.landmarks.expression import action_units
from being.capture.landmarks.tracking import Track, ibug_68, track_landmarks
from being.capture.layers.torso import track_torso
from being.capture.parsing.parser import BLOCK, ClipParser, open_parser
from being.capture.parsing.teeth import TeethFinder, lips_apart
from being.capture.pose.solve import PoseSolution, solve_pose
from being.capture.read_ahead import ahead
from being.capture.selection import select_frames
from being.capture.video.crop import Crop, choose_crop
from being.capture.video.reader import Footage, open_footage
from being.capture.workspace import Workspace, require_room, writing_to
from being.dataset.folder import read_picture
from being.dataset.parsing import labels_of_colours
from being.dataset.writer import DatasetWriter
from being.errors import InputError
from being.progress import Progress, Silent

VERSION = 9  # raise when a step's result changes, so that no run goes on from an older one's
SMALLEST, LARGEST = 64, 1920  # pixels a side
BYTES_A_PIXEL = 3.3  # of the finished folder, for each pixel of each frame; measured 2.3 (256 px) to 3.0 (160 px)
BLINK_GAIN = 1.5  # AU45 = 3 x closure: at 25 frames a second lids are rarely caught wholly shut
LIGHT_SAMPLES = 40

Picture = NDArray[np.uint8]


def capture(
    video: Path | str,
    out: Path | str,
    *,
    size: int | tuple[int, int] = 512,
    focal: float | None = None,
    parser: str = "builtin",
    background: str | None = None,
    progress: Progress | None = None,
    resume: bool = True,
    workers: int | None = None,
    audio_track: int | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
) -> CaptureReport:
    """Make the dataset folder `out` from a video of one person talking.

    Parameters
    ----------
    video : any phone video. out : the folder to make; it appears when it is whole, `report.html` and `capture.json`
        in it. Until then the work stands in `out.part`, and a run that was stopped goes on from there.
    size : side of the square pictures, or their width and height, pixels. focal : of the camera, in pixels of these
        pictures, where it is known.
    parser : see `being.capture.parsing.parser.open_parser`. resume : False begins anew. workers : threads.
    background : what stands behind the avatar where it shall not be what was filmed: "blur", "#rrggbb" or a picture.
    audio_track : which sound track, from 1; None: the default one, else the first that is not silent.
    start_s, end_s : the part of the video to use, seconds.

    Raises
    ------
    InputError
        What the video shows cannot be used, `out` exists, or the disk refuses. MissingDependencyError: see its remedy.
    """
    video, out = Path(video), Path(out)
    width, height = (size, size) if isinstance(size, int) else size
    if any(not SMALLEST <= side <= LARGEST or side % 2 for side in (width, height)):
        raise InputError(f"size is {width}x{height}", f"Give even numbers of pixels from {SMALLEST} to {LARGEST}")
    side = min(width, height)
    if focal is not None and not 0.3 * side <= focal <= 20 * side:
        raise InputError(f"focal is {focal:g} pixels for pictures of {side}", "Usual is 1.2 to 3 times the size")
    if video.is_dir():
        raise InputError(f"{video} is a folder", "Give a video; a dataset folder is trained on as it is: being fit")
    check_background(background)
    open_parser(parser).close()
    footage = open_footage(video, start_s, end_s)
    require_room(out, int(footage.frames * width * height * BYTES_A_PIXEL))
    settings = {
        "version": VERSION,
        "video": _fingerprint(video),
        "size": width if width == height else [width, height],
        "focal": focal,
        "parser": parser,
        "audio_track": audio_track,
        "part": [start_s, end_s],
        "background": background,
    }
    place = Workspace(out, settings, resume)
    threads = workers or os.cpu_count() or 1
    job = _Job(footage, place, (width, height), focal, parser, background, progress or Silent(), threads, audio_track)
    try:
        with writing_to(out):
            return job.run()
    except InputError as error:
        if not isinstance(error.__cause__, OSError):  # the footage was refused: nothing to go on with
            place.discard()
        raise


def _fingerprint(video: Path) -> str:
    """Of the file's size, beginning and end: enough to tell one video from another."""
    length = video.stat().st_size
    digest = hashlib.sha256(str(length).encode())
    with video.open("rb") as file:
        digest.update(file.read(1 << 20))
        file.seek(max(0, length - (1 << 20)))
        digest.update(file.read())
    return digest.hexdigest()


def _solution(kept: dict[str, NDArray[Any]]) -> PoseSolution:
    numbers = {name: float(kept[name]) for name in ("focal", "cx", "cy", "rms_px")}
    return PoseSolution(shape=kept["shape"], poses=kept["poses"], per_frame_rms=kept["per_frame_rms"], **numbers)


@dataclass(frozen=True)
class _Stored:
    """Pictures of a folder by number, read when asked for, in a row ahead: `background.plate.Pictures`."""

    read: Callable[[int], Picture]
    count: int
    workers: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Picture:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.read(index)

    def __iter__(self) -> Iterator[Picture]:
        return ahead((partial(self.read, i) for i in range(self.count)), self.workers)


@dataclass
class _Job:
    """The steps, in order."""

    footage: Footage
    place: Workspace
    size: tuple[int, int]
    focal: float | None
    parser: str
    background: str | None
    progress: Progress
    workers: int
    audio_track: int | None
    count: int = 0  # frames that take part
    breaks: NDArray[np.bool_] | None = None  # where the film goes on elsewhere, see `Selection`
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> CaptureReport:
        from being.capture.landmarks.mediapipe import mesh_triangles
        from being.capture.landmarks.mesh import dense_vertices
        from being.capture.report import write_report

        selection = select_frames(
            self.footage,
            self.place,
            lambda frames: track_landmarks(frames, progress=self.progress),
            self._step,
            self.audio_track,
        )
        self.count, self.breaks = len(selection.frames), selection.breaks
        filmed = selection.track
        crop = choose_crop(filmed, self.footage.width, self.footage.height, self.size)
        outside = filmed.found & ~crop.holds(filmed.points)
        track = Track(crop.map(filmed.points, self.size), filmed.found & ~outside, filmed.faces)
        self._film(crop, selection.frames)
        pose = self._pose(track)
        writer = DatasetWriter(self.place.path, *self.size, pose.focal, pose.cx, pose.cy).prepare(again=True)
        motion = self._labels(track, writer)
        plate, seen, shows = self._plate(motion)
        pose = self._head(track, pose, not motion.still)
        torso = self._torso(pose, not motion.still)
        self._layers(track, plate, writer, self._cut_out(motion))
        closure, units = eye_closure(track.points), action_units(track.points)
        with self._step("numbers"):
            writer.finish(
                audio=selection.sound.samples,
                sound_frames=selection.frames,
                background=plate,
                head_poses=pose.poses,
                eyes=BLINK_GAIN * closure,
                torso_poses=torso,
                vertices=dense_vertices(pose.shape, mesh_triangles()),
                skip=np.flatnonzero(~track.found).tolist(),
                action_units=units,
                camera_moves=not motion.still,
            )
            chosen = np.unique(np.linspace(0, len(closure) - 1, min(LIGHT_SAMPLES, len(closure))).astype(int))
            light = face_brightness([self._pictures[i] for i in chosen], track.points[chosen])
        findings = find(
            track,
            pose.poses,
            closure,
            light,
            selection.sound.samples,
            size=min(self.size),
            crop_side=min(crop.width, crop.height),
            rms_px=pose.rms_px,
            seen=float(seen.mean()),
            filmed=selection.total,
            cuts=selection.cuts,
            motion=motion,
            background=shows,
            outside=outside,
        )
        report = CaptureReport(
            folder=self.place.out,
            frames=len(closure),
            size=self.size,
            focal=float(pose.focal),
            crop=(crop.x0, crop.y0, crop.width, crop.height),
            found=float(track.found.mean()),
            rms_px=float(pose.rms_px),
            blinks=count_blinks(closure),
            mouth_open=float(np.percentile(lips_apart(track.points), 98)),
            seen=float(seen.mean()),
            camera_shift_px=motion.shift,
            background=shows,
            seconds=self.seconds,
            warnings=findings,
            notes=selection.notes,
            cuts=selection.cuts,
            filmed=selection.total,
            start_s=self.footage.film.from_s,
        )
        write_report(self.place.path / "report.html", report, self.place.path, track, pose, closure, units, seen)
        (self.place.path / "capture.json").write_text(json.dumps(report.as_json(), indent=1))
        self.place.publish()
        return report

    def _film(self, crop: Crop, frames: NDArray[np.int64]) -> None:
        """Write the pictures of the film's frames (N,) that take part."""
        with self._step("pictures"):
            writer = DatasetWriter(self.place.path, *self.size, 1.0).prepare(again=True)
            have = self._done_before("ori_imgs", ".png")
            if have == self.count:
                return
            number = {int(frame): index for index, frame in enumerate(frames)}

            def work(index: int, make: Callable[[], Picture]) -> None:
                writer.picture(index, make())

            filmed = enumerate(self.footage.cropped(crop, self.size).later())
            shown = ((number[i], make) for i, make in filmed if i in number)
            self._spread((partial(work, i, make) for i, make in shown if i >= have), have)
            if self._done_before("ori_imgs", ".png") < self.count:
                raise InputError(f"{self.footage.path} gave fewer pictures the second time", "Copy the video again")

    def _pose(self, track: Track) -> PoseSolution:
        with self._step("pose"):
            kept = self.place.load("pose")
            if kept is None:
                pose = solve_pose(track.points, track.found, *self.size, self.focal, self.breaks)
                self.place.save("pose", **vars(pose))
                return pose
            return _solution(kept)

    def _head(self, track: Track, pose: PoseSolution, camera_moves: bool) -> PoseSolution:
        from being.capture.head_pose import head_pose

        with self._step("head"):
            kept = self.place.load("head")
            if kept is None:
                how = (self.breaks, camera_moves, self.focal, self.workers, self.progress)
                pose = head_pose(self._pictures, self._parsing, track, pose, *how)
                self.place.save("head", **vars(pose))
                return pose
            return _solution(kept)

    def _labels(self, track: Track, writer: DatasetWriter) -> BackgroundMotion:
        """Returns how the background moves, pixels of the pictures."""
        from being.capture.background.camera_motion import background_motion

        with self._step("parsing"):
            have = self._done_before("ori_imgs", ".lms")
            kept = self.place.load("camera")
            if have == self.count and kept is not None:
                return BackgroundMotion(float(kept["shift"]), bool(kept["still"]), bool(kept["changes"]))
            have = have // BLOCK * BLOCK
            marks = ibug_68(track.points)
            parser = open_parser(self.parser)
            try:
                clip = ClipParser(self._pictures, track, parser, self.workers)
                small, labels = clip.learn()
                looked = background_motion(small, labels)
                motion = replace(looked, shift=looked.shift * max(self.size) / max(small[0].shape[:2]))
                self.place.save("camera", **vars(motion))
                numbered = enumerate(clip.labels(have), start=have)
                self._spread((partial(writer.marks, i, labels, marks[i]) for i, labels in numbered), have)
            finally:
                parser.close()
            return motion

    def _cut_out(self, motion: BackgroundMotion) -> bool:
        """Whether mattes are made, as the plate is not what was filmed."""
        return not motion.still or self.background is not None

    def _plate(self, motion: BackgroundMotion) -> tuple[Picture, NDArray[np.bool_], str]:
        """The plate, where it was really seen, and what it shows."""
        from being.capture.background.made_plate import plate_of

        with self._step("plate"):
            kept = self.place.load("plate")
            if kept is None:
                pictures, labels = self._pictures, self._parsing
                plate, seen, shows = plate_of(
                    pictures, labels, motion, self.background, self.workers, self.progress.update
                )
                self.place.save("plate", plate=plate, seen=seen, shows=shows)
                return plate, seen, shows
            return kept["plate"], kept["seen"], str(kept["shows"])

    def _torso(self, pose: PoseSolution, camera_moves: bool) -> NDArray[np.float32]:
        with self._step("torso"):
            kept = self.place.load("torso")
            if kept is None:
                poses = track_torso(self._pictures, self._parsing, pose, self.progress, self.breaks, camera_moves)
                self.place.save("torso", poses=poses)
                return poses
            return kept["poses"]

    def _layers(self, track: Track, plate: Picture, writer: DatasetWriter, mattes: bool) -> None:
        from being.capture.layers.matting import cut_out
        from being.capture.layers.separation import over_plate, torso_alone

        with self._step("layers"):
            have = self._done_before("torso_imgs", ".png")
            widest = np.argsort(-lips_apart(track.points), kind="stable")[:LIGHT_SAMPLES]
            teeth = TeethFinder.learn([self._pictures[int(i)] for i in widest], track.points[widest])

            def work(index: int) -> None:
                image, labels = self._pictures[index], self._parsing[index]
                person = cut_out(image, labels) if mattes else None
                writer.layers(
                    index,
                    composited=over_plate(image, labels, plate) if person is None else person.over(plate),
                    alpha=None if person is None else person.alpha,
                    torso=torso_alone(image, labels),
                    teeth=teeth(image, track.points[index]) if track.found[index] else None,
                )

            self._spread((partial(work, i) for i in range(have, self.count)), have)

    @property
    def _pictures(self) -> _Stored:
        folder = self.place.path / "ori_imgs"
        return _Stored(lambda i: read_picture(folder / f"{i}.png"), self.count, self.workers)

    @property
    def _parsing(self) -> _Stored:
        folder = self.place.path / "parsing"
        return _Stored(lambda i: labels_of_colours(read_picture(folder / f"{i}.png")), self.count, self.workers)

    def _done_before(self, folder: str, suffix: str) -> int:
        """How many frames from the first on have their file."""
        root = self.place.path / folder
        return next((i for i in range(self.count) if not (root / f"{i}{suffix}").exists()), self.count)

    def _spread(self, jobs: Iterable[Callable[[], None]], done: int) -> None:
        """Do the jobs on several threads, telling the progress."""
        for _ in ahead(jobs, self.workers):
            done += 1
            self.progress.update(done / self.count)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self.progress.part(name)
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begun, 2)
        self.progress.update(1.0)
