"""What a capture found out about the footage, in numbers, and what a person should know or film again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from being.capture.background.found import FILMED, LAID_TOGETHER, BackgroundMotion
from being.capture.cuts import Cut, Reason
from being.capture.landmarks.tracking import Track
from being.capture.parsing.teeth import lips_apart
from being.constants import FPS, SAMPLE_RATE
from being.dataset.pose import euler_of_rotation
from being.media.reading.notes import Note

SMALL_FACE = 0.22  # of the picture's side, hairline to chin
COARSE_FACE = 160  # pixels of the video, hairline to chin: below it skin has no texture
STRONG_TURN_DEG, OFTEN = 35.0, 0.05
STILL_HEAD_DEG = 2.0  # spread of the head's turn: an avatar can only move as it was seen to
WIDE_MOUTH = 0.10  # opening in face lengths that speech should reach now and then
LIGHT_DRIFT = 0.08  # spread of the face's brightness over the clip, share of its mean
GOOD_RMS = 1.2  # pixels at 512
SHORT_S = 20.0
HIDDEN = 0.7  # share of the picture never seen without the person
BLINK, BLINK_GAP = 0.5, 3  # closure that counts as a blink; frames between two of them
QUIET, CLIPPED, CLIPPED_SHARE = 0.01, 0.999, 1e-3


@dataclass(frozen=True)
class Finding:
    """One thing that is less than good, and what to do about it."""

    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}"


@dataclass(frozen=True)
class CaptureReport:
    """What `capture` did.

    Attributes
    ----------
    folder : the dataset. frames, size (width, height) : of its pictures. focal : pixels.
    crop : x0, y0, width, height of what the upright video shows of them, pixels.
    found : share of the frames with a face. rms_px : reprojection error of the rigid landmarks.
    blinks : how many. mouth_open : widest opening (98th percentile), in face lengths. seen : share of the plate that
    was really seen. camera_shift_px : of the background. background : what the plate shows.
    seconds : wall clock by step. warnings : see Finding.
    notes : what was repaired and chosen while the film was read.
    filmed : frames of the film, from `start_s` on, of which `cuts` were left out.
    """

    folder: Path
    frames: int
    size: tuple[int, int]
    focal: float
    crop: tuple[int, int, int, int]
    found: float
    rms_px: float
    blinks: int
    mouth_open: float
    seen: float
    camera_shift_px: float
    background: str = FILMED
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()
    filmed: int = 0
    start_s: float = 0.0
    cuts: tuple[Cut, ...] = ()

    @property
    def times(self) -> NDArray[np.float64]:
        """(frames,) when each frame is shown in the video, seconds."""
        used = np.ones(max(self.filmed, self.frames), bool)
        for cut in self.cuts:
            used[cut.start : cut.stop] = False
        return np.flatnonzero(used)[: self.frames] / FPS + self.start_s

    def seconds_of(self, cut: Cut) -> tuple[float, float]:
        """From, to, in the video."""
        start, stop = cut.seconds
        return round(self.start_s + start, 3), round(self.start_s + stop, 3)

    def as_json(self) -> dict[str, Any]:
        """For capture.json; the folder's own name is left out, it may be moved. Squares have one side."""
        values = asdict(self)
        if self.size[0] == self.size[1]:
            values["size"], values["crop"] = self.size[0], self.crop[:3]
        del values["folder"]
        parts = [(*self.seconds_of(cut), cut.reason) for cut in self.cuts]
        values["cuts"] = [{"from_s": start, "to_s": stop, "reason": reason} for start, stop, reason in parts]
        return values


def count_blinks(closure: NDArray[np.floating]) -> int:
    """Blinks among eye closures (T,)."""
    shut = np.flatnonzero(closure > BLINK)
    return int(len(shut) > 0) + int((np.diff(shut) > BLINK_GAP).sum())


def spans_in_words(flags: NDArray[np.bool_], most: int = 5) -> str:
    """When flags (T,) by frame are set, at most so many stretches: "at 1.2 to 2.0 s, 4.0 to 4.1 s and 3 more times"."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))).reshape(-1, 2)
    named = ", ".join(f"{first / FPS:.1f} to {last / FPS:.1f} s" for first, last in edges[:most])
    return f"at {named}" + (f" and {len(edges) - most} more times" if len(edges) > most else "")


def face_brightness(images: Sequence[NDArray[np.uint8]], points: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Mean brightness of the middle of the face in frames RGB (H, W, 3) with meshes (478, 3)."""
    values = []
    for image, mesh in zip(images, points, strict=True):
        (x0, y0), (x1, y1) = mesh[:468, :2].min(0), mesh[:468, :2].max(0)
        rows = slice(max(int(0.7 * y0 + 0.3 * y1), 0), max(int(0.3 * y0 + 0.7 * y1), 1))
        columns = slice(max(int(0.7 * x0 + 0.3 * x1), 0), max(int(0.3 * x0 + 0.7 * x1), 1))
        part = image[rows, columns]
        values.append(float(part.mean()) if part.size else np.nan)
    return np.array(values)


def find(
    track: Track,
    poses: NDArray[np.float32],
    closure: NDArray[np.float32],
    brightness: NDArray[np.float64],
    sound: NDArray[np.float32],
    *,
    size: int,
    crop_side: int,
    rms_px: float,
    seen: float,
    filmed: int = 0,
    cuts: Sequence[Cut] = (),
    motion: BackgroundMotion | None = None,
    background: str = FILMED,
    outside: NDArray[np.bool_] | None = None,
) -> tuple[Finding, ...]:
    """Everything worth saying about a clip of T frames; `track` in pixels of its pictures.

    filmed, cuts : frames of the film, and what was left out of it. motion : of the background, None: it stands still.
    background : what the plate shows. outside : (T,) frames whose face leaves the portrait.
    """
    stands = motion is None or motion.still
    out: list[Finding] = []

    def say(bad: bool, problem: str, remedy: str) -> None:
        if bad:
            out.append(Finding(problem, remedy))

    face = float(np.median(np.ptp(track.points[..., 1], axis=1)))
    tall = face * crop_side / size
    say(
        face < SMALL_FACE * size or tall < COARSE_FACE,
        f"Face small: {tall:.0f} pixels high in the video",
        "Film head and shoulders from nearer, or at a higher resolution",
    )
    say(
        crop_side < 0.75 * size,
        f"The portrait has {crop_side} pixels in the video and is enlarged to {size}",
        f"Use --size {max(crop_side // 2 * 2, 128)}, or film at a higher resolution",
    )
    out += _left_out(cuts, filmed)
    gone = np.zeros(len(track.found), bool) if outside is None else outside
    say(
        bool(gone.any()),
        f"The face leaves the picture {spans_in_words(gone)}; these frames are left out of training",
        "Keep the face in the picture, with some room around it",
    )
    lost = int((~track.found & ~gone).sum())
    say(
        lost > 0, f"No face in {lost} of {len(track.found)} frames; they are left out of training", "Look to the camera"
    )
    crowded = int((track.faces > 1).sum())
    say(crowded > 0, f"A second face in {crowded} frames", "Let nobody else come into the picture")
    turn = np.degrees(euler_of_rotation(np.diag([1.0, -1.0, -1.0]) @ poses[:, :, :3]))
    away = float((np.abs(turn[:, :2]).max(1) > STRONG_TURN_DEG).mean())
    say(
        away > OFTEN,
        f"Strong head turn: over {STRONG_TURN_DEG:.0f} degrees in {away:.0%} of the frames",
        "Stay within a half-profile: what faces away cannot be learned from the front",
    )
    still = float(np.percentile(turn[:, 1], 95) - np.percentile(turn[:, 1], 5))
    say(
        still < STILL_HEAD_DEG,
        f"The head hardly turns ({still:.1f} degrees)",
        "Move naturally while speaking: the avatar moves as it was seen to",
    )
    opening = float(np.percentile(lips_apart(track.points), 98))
    say(
        opening < WIDE_MOUTH,
        f"The mouth never opens wide ({opening:.0%} of the face's length)",
        'Speak clearly, with some loud words ("wow", "far"): expect mumbled vowels otherwise',
    )
    say(
        count_blinks(closure) == 0,
        "No blink was seen",
        "Film longer: without a blink the avatar cannot learn to shut its eyes",
    )
    drift = float(np.nanstd(brightness)) / max(float(np.nanmean(brightness)), 1e-6) if len(brightness) else 0.0
    say(
        drift > LIGHT_DRIFT,
        f"Light changes: the face's brightness sways by {drift:.0%}",
        "Lock the exposure (hold a finger on the face in the camera app) and film away from windows and screens",
    )
    limit = GOOD_RMS * size / 512
    say(rms_px > limit, f"The head's pose fits to {rms_px:.1f} pixels only", "Keep hands and hair off the face")
    seconds = len(poses) / FPS
    say(seconds < SHORT_S, f"Only {seconds:.0f} s of footage", "One to three minutes teach more sounds and looks")
    say(
        not stands,
        f"{str(motion).capitalize()}: the person is cut out of every frame, the background is {background}",
        "Film with the phone on a stand to keep the place as it is, or give --background PICTURE",
    )
    say(
        background in (FILMED, LAID_TOGETHER) and seen < 1 - HIDDEN,
        f"Only {seen:.0%} of the background was ever seen",
        "The rest is a guess: render with a background of your own where the head moves far",
    )
    peak = float(np.abs(sound).max()) if len(sound) else 0.0
    say(peak < QUIET, "The sound is very quiet", "Come nearer to the microphone")
    clipped = float((np.abs(sound) >= CLIPPED).mean()) if len(sound) else 0.0
    say(clipped > CLIPPED_SHARE, "The sound is distorted by loudness", "Step back from the microphone")
    short = len(poses) / FPS - len(sound) / SAMPLE_RATE
    say(short > 0.5, f"The sound ends {short:.1f} s early", "Check the recording")
    return tuple(out)


def _left_out(cuts: Sequence[Cut], filmed: int) -> list[Finding]:
    """One line on the cut list, the most frequent reasons first."""
    if not cuts:
        return []
    frames: dict[Reason, int] = {}
    for cut in cuts:
        frames[cut.reason] = frames.get(cut.reason, 0) + cut.stop - cut.start
    often = sorted(frames, key=lambda reason: -frames[reason])
    said = ", ".join(f"{reason} {frames[reason] / FPS:.1f} s" for reason in often[:3])
    more = ", ..." if len(often) > 3 else ""
    text = f"{sum(frames.values()) / FPS:.1f} s of {filmed / FPS:.1f} s are left out ({said}{more})"
    return [Finding(text, "The report lists them; --start and --end choose a part of the video")]
