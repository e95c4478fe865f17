"""Any phone video as upright RGB frames at exactly 25 a second, one at a time, with its sound on the same clock.

Opening reads the container's index, not the pictures: it tells how many frames there will be and whether the file is
whole. Iterating decodes; each output instant k/25 s shows the frame whose time stamp is nearest, so variable frame
rates and 24 to 60 frames a second all become 25. Memory holds a few frames, whatever the video's length.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from being.audio.features import SAMPLE_RATE
from being.audio.pcm import read_audio
from being.capture.video.crop import Crop
from being.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import av

FPS = 25
SHORTEST_S = 3.0  # footage shorter than this teaches nothing
LONGEST_S = 1800.0
MISSING_S = 0.5  # a stated duration that exceeds what the file holds by more than this means a cut-off file
SILENT_PEAK = 1e-4  # a sound track that never exceeds this is as good as none
# Plain containers only: a playlist (HLS, concat, DASH) would make the decoder open other files on its author's behalf.
_CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,mxf,ogg"
_REMEDY = "Give a video of a talking person that plays in a media player (mp4, mov, webm, mkv)"
_AGAIN = "Copy or download the video again"
_HDR = {16: "PQ", 18: "HLG"}  # ITU-T H.273 transfer characteristics

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Footage:
    """An opened video.

    Attributes
    ----------
    path : the file.
    width, height : pixels of the frames that iterating yields, upright.
    frames : how many it yields, at 25 a second. duration_s : frames / 25.
    rate : frames a second as filmed, on average.
    notes : what a person should know about the file; usually empty.
    """

    path: Path
    width: int
    height: int
    frames: int
    rate: float
    notes: tuple[str, ...] = ()
    start_s: float = 0.0  # time stamp of the first frame
    _orientation: tuple[bool, bool, bool] = (False, False, False)
    _square: tuple[int, int] | None = None  # size after undoing oblong pixels, before turning upright
    _crop: Crop | None = field(default=None)

    @property
    def duration_s(self) -> float:
        return self.frames / FPS

    def __len__(self) -> int:
        return self.frames

    def cropped(self, crop: Crop, size: int) -> Footage:
        """The same footage seen through a square, scaled to size x size. The square is in upright video pixels."""
        if self._crop is not None:
            raise ValueError("this footage is cropped already")
        if crop.x0 < 0 or crop.y0 < 0 or crop.x0 + crop.side > self.width or crop.y0 + crop.side > self.height:
            raise ValueError(f"{crop} leaves the {self.width}x{self.height} picture")
        return replace(self, width=size, height=size, _crop=crop)

    def __iter__(self) -> Iterator[Frame]:
        """`frames` pictures, uint8 RGB (height, width, 3). Raises InputError where the file turns out damaged."""
        return (make() for make in self.later())

    def later(self) -> Iterator[Callable[[], Frame]]:
        """The same pictures, each made when it is called for, on whatever thread: converting costs more than decoding.

        Raises as `__iter__`.
        """
        shown = 0
        last: av.VideoFrame | None = None
        last_time = 0.0
        for frame, time in self._decoded():
            if last is not None:
                until = min(self.frames, _instants_before((last_time + time) / 2 - self.start_s))
                if until > shown:
                    yield from repeat(self._maker(last), until - shown)
                    shown = until
            last, last_time = frame, time
            if shown >= self.frames:
                return
        lost = self.frames / FPS - (last_time - self.start_s)
        if last is None or lost > MISSING_S + 1 / FPS:
            raise InputError(f"{self.path} cannot be decoded to its end, {lost:.1f} s are missing", _AGAIN)
        yield from repeat(self._maker(last), self.frames - shown)

    def sound(self) -> NDArray[np.float32]:
        """16 kHz mono in [-1, 1], exactly 640 samples a frame; sample 0 sounds when frame 0 is shown.

        Raises InputError where the sound track cannot be read or is silent throughout.
        """
        late = round((_first_sound_s(self.path) - self.start_s) * SAMPLE_RATE)
        samples = read_audio(self.path, limit_s=2 * LONGEST_S).samples
        wanted = self.frames * SAMPLE_RATE // FPS
        sound = np.zeros(wanted, np.float32)
        part = samples[max(-late, 0) :][: max(wanted - max(late, 0), 0)]
        sound[max(late, 0) : max(late, 0) + len(part)] = part
        if np.abs(sound).max() < SILENT_PEAK:
            raise InputError(f"The sound of {self.path} is silent", "Film again with the microphone on")
        return sound

    def _decoded(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames in the order of their time stamps, with these in seconds. A damaged frame is left out."""
        import av

        with _opened(self.path) as container:
            stream = _picture_stream(self.path, container)
            stream.thread_type = "AUTO"
            index, previous = 0, -np.inf
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets)
                    decoded = packet.decode()
                except (StopIteration, av.error.EOFError):
                    return
                except av.error.InvalidDataError:
                    continue
                for frame in decoded:
                    time = frame.time if frame.pts is not None else self.start_s + index / self.rate
                    index += 1
                    if time > previous:
                        yield frame, time
                        previous = time

    def _maker(self, frame: av.VideoFrame) -> Callable[[], Frame]:
        """Makes the picture once, however often it is shown: FFmpeg's converter is not for two threads at a time."""
        lock = threading.Lock()
        made: list[Frame] = []

        def make() -> Frame:
            with lock:
                if not made:
                    made.append(self._picture(frame))
            return made[0]

        return make

    def _picture(self, frame: av.VideoFrame) -> Frame:
        """Decoded frame -> upright RGB, cropped and scaled where asked for."""
        width, height = self._square or (frame.width, frame.height)
        raw: Frame = np.asarray(frame.reformat(width=width, height=height, format="rgb24").to_ndarray(), np.uint8)
        picture = _upright(raw, *self._orientation)
        if self._crop is None:
            return np.ascontiguousarray(picture)
        crop = self._crop
        square = np.ascontiguousarray(picture[crop.y0 : crop.y0 + crop.side, crop.x0 : crop.x0 + crop.side])
        if crop.side == self.width:
            return square
        return np.asarray(Image.fromarray(square).resize((self.width, self.height), Image.Resampling.BICUBIC))


def open_footage(path: str | Path, shortest_s: float = SHORTEST_S, longest_s: float = LONGEST_S) -> Footage:
    """Check a video and prepare to read it.

    Raises
    ------
    InputError
        Not there, not a video, cut off, without sound, shorter than `shortest_s` or longer than `longest_s`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file" if path.exists() else f"{path} does not exist", "Check the path")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty", _AGAIN)
    with _opened(path) as container:
        stream = _picture_stream(path, container)
        if not container.streams.audio:
            raise InputError(f"{path} has no sound", "Film again with the microphone on: the speech drives the mouth")
        stated = _stated_s(container, stream)
        stamps = _time_stamps(path, container, stream)
    if len(stamps) < 2:
        raise InputError(f"{path} holds a single picture, not a video", _REMEDY)
    held = float(stamps[-1] - stamps[0] + np.median(np.diff(stamps)))
    if stated > held + max(MISSING_S, 0.02 * held):
        raise InputError(f"{path} is cut off: it says {stated:.1f} s and holds {held:.1f} s", _AGAIN)
    if held < shortest_s:
        raise InputError(f"{path} lasts {held:.1f} s, at least {shortest_s:g} s are needed", "Film a minute or more")
    if held > longest_s:
        raise InputError(f"{path} lasts {held:.0f} s, the limit is {longest_s:.0f} s", "Cut it: five minutes suffice")
    first = _first_frame(path)
    orientation = _orientation(first)
    square = _square_pixels(first, path)
    width, height = square[::-1] if orientation[0] else square
    notes = []
    if int(first.color_trc or 0) in _HDR:
        notes.append(
            f"{path.name} is HDR video ({_HDR[int(first.color_trc)]}): colours may look flat; film with HDR off"
        )
    return Footage(
        path=path,
        width=width,
        height=height,
        frames=max(1, round(held * FPS)),
        rate=len(stamps) / held,
        notes=tuple(notes),
        start_s=float(stamps[0]),
        _orientation=orientation,
        _square=square,
    )


def _instants_before(seconds: float) -> int:
    """How many of the instants 0, 1/25, 2/25 ... s lie before a time."""
    return max(0, int(np.ceil(seconds * FPS - 1e-6)))


def _opened(path: Path) -> av.container.InputContainer:
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError("av", "clone", "Reading videos") from error
    try:
        return av.open(str(path), mode="r", options={"format_whitelist": _CONTAINERS})
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied", "Check the file's permissions") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if _begins_like_mp4(path):
            raise InputError(f"{path} is cut off: its index is missing", _AGAIN) from error
        raise InputError(f"{path} is not a video", _REMEDY) from error


def _begins_like_mp4(path: Path) -> bool:
    """A true mp4 or mov that cannot be opened has usually lost its end, where phones write the index."""
    with path.open("rb") as file:
        return file.read(8)[4:] in (b"ftyp", b"moov", b"mdat", b"wide")


def _picture_stream(path: Path, container: av.container.InputContainer) -> Any:
    for stream in container.streams.video:
        if not stream.disposition & stream.disposition.__class__.attached_pic:  # a cover picture is no video
            return stream
    raise InputError(f"{path} holds no moving picture", _REMEDY)


def _stated_s(container: av.container.InputContainer, stream: Any) -> float:
    """The duration the file claims for its picture; 0 where it claims none."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is None:
        return 0.0
    begun = (container.start_time or 0) / 1e6  # AV_TIME_BASE is microseconds
    return container.duration / 1e6 - max(float((stream.start_time or 0) * (stream.time_base or 0)) - begun, 0.0)


def _time_stamps(path: Path, container: av.container.InputContainer, stream: Any) -> NDArray[np.float64]:
    """Presentation times of all frames in seconds, ascending, read without decoding."""
    import av

    stamps: list[float] = []
    count = 0
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard or packet.is_corrupt:
                continue
            count += 1
            if packet.pts is not None:
                stamps.append(float(packet.pts * packet.time_base))
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path} is damaged after {max(stamps, default=0.0):.1f} s", _AGAIN) from error
    if count and len(stamps) < count / 2:  # AVI states decoding order only
        rate = float(stream.average_rate or stream.guessed_rate or FPS)
        stamps = [i / rate for i in range(count)]
    return np.unique(np.array(stamps))


def _first_frame(path: Path) -> av.VideoFrame:
    import av

    with _opened(path) as container:
        try:
            for frame in container.decode(_picture_stream(path, container)):
                return frame
        except av.error.FFmpegError:
            pass
    raise InputError(f"The pictures of {path} cannot be decoded", _AGAIN)


def _first_sound_s(path: Path) -> float:
    """When the sound track begins, seconds."""
    import av

    with _opened(path) as container:
        try:
            for frame in container.decode(container.streams.audio[0]):
                return frame.time or 0.0
        except av.error.FFmpegError:
            pass
    return 0.0


def _square_pixels(frame: av.VideoFrame, path: Path) -> tuple[int, int]:
    """(width, height) with square pixels, before turning upright."""
    with _opened(path) as container:
        ratio = _picture_stream(path, container).sample_aspect_ratio
    stretch = float(ratio) if ratio else 1.0
    return (round(frame.width * stretch / 2) * 2 if abs(stretch - 1) > 0.01 else frame.width), frame.height


def _orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose, mirror columns, mirror rows) that turn a decoded frame upright, from its display matrix."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])  # x' = a x + c y, y' = b x + d y
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def _upright(picture: Frame, transpose: bool, mirror_columns: bool, mirror_rows: bool) -> Frame:
    """A view, nothing is copied."""
    if transpose:
        picture = picture.transpose(1, 0, 2)
    return picture[:: -1 if mirror_rows else 1, :: -1 if mirror_columns else 1]
