"""Any audio file -> samples: 16 kHz mono for the ear, 48 kHz for the video's sound track.

PyAV decodes; our own resampler converts, so that a file and a live stream hear exactly the same. The duration limit is
checked before decoding where the file states its duration, and while decoding in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from being.audio.features import Array
from being.audio.resample import StreamResampler
from being.constants import SAMPLE_RATE
from being.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import av

OUTPUT_RATE = 48_000  # samples per second of the sound in a finished video
LIMIT_S = 3600.0  # seconds of sound accepted unless the caller says otherwise
_TOLERANCE_S = 0.5  # containers round their durations
# Plain containers only: a playlist (HLS, concat, DASH) would make the decoder open other files on its author's behalf.
# And should a container refer to another file all the same, there is no protocol by which to open it.
_CONTAINERS = (
    "wav,w64,aiff,au,caf,mp3,aac,flac,ogg,mov,mp4,m4a,matroska,webm,avi,asf,flv,mpegts,mpeg,amr,ac3,eac3,wv,ape,tta,mxf"
)
_OPEN_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
_RATES = (1000, 192_000)  # Hz; a filter for an absurd rate that a header claims would fill the memory


@dataclass(frozen=True)
class Pcm:
    """samples (S,) float32 in [-1, 1], mono; (S, channels) where read_audio_48k kept several."""

    samples: Array
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


def read_audio(source: str | Path | BinaryIO, limit_s: float = LIMIT_S) -> Pcm:
    """The sound of any audio or video file as 16 kHz mono.

    Parameters
    ----------
    source : path or binary file
        What PyAV can open: wav, mp3, m4a, ogg, flac, mp4, ...
    limit_s : float
        Longest sound accepted, seconds.

    Raises
    ------
    InputError
        Unreadable, not audio, empty, damaged, or longer than the limit.
    """
    return Pcm(_read(source, SAMPLE_RATE, 1, limit_s)[:, 0], SAMPLE_RATE)


def read_audio_48k(source: str | Path | BinaryIO, limit_s: float = LIMIT_S) -> Pcm:
    """The sound of a file as 48 kHz, (S, 1) or (S, 2): for the sound track. Raises as read_audio."""
    return Pcm(_read(source, OUTPUT_RATE, 2, limit_s), OUTPUT_RATE)


def _read(source: str | Path | BinaryIO, rate: int, most_channels: int, limit_s: float) -> Array:
    """(S, channels) float32 in [-1, 1]."""
    called = source if isinstance(source, str | Path) else getattr(source, "name", None)
    name = str(called) if isinstance(called, str | Path) else "the upload"  # temporary files are called by a number
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError("av", "speech", "Reading audio files") from error
    remedy = "Give a sound or video file that plays in a media player"
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise InputError(f"{name} is not a file" if path.exists() else f"{name} does not exist", "Check the path")
        if path.stat().st_size == 0:
            raise InputError(f"{name} is empty", remedy)
    try:
        with _opened(source) as file, av.open(file, mode="r", options=dict(_OPEN_OPTIONS)) as container:
            if not container.streams.audio:
                raise InputError(f"{name} holds no sound", remedy)
            stream = container.streams.audio[0]
            _check_limit(name, _stated_seconds(container, stream), limit_s)
            parts = list(_converted(name, container.decode(stream), rate, most_channels, limit_s))
    except PermissionError as error:
        raise InputError(f"{name} cannot be read: permission denied", "Check the file's permissions") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name} is not readable as audio ({reason})", remedy) from error
    sound = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    if not len(sound):
        raise InputError(f"{name} holds no samples", remedy)
    return sound


@contextmanager
def _opened(source: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """Always our own file object: FFmpeg itself opens nothing. A caller's file stays open."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            yield file
    else:
        yield source


def _stated_seconds(container: av.container.InputContainer, stream: Any) -> float:
    """What the file says about its length; 0 where it says nothing."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration is not None else 0.0  # AV_TIME_BASE is microseconds


def _check_limit(name: str, seconds: float, limit_s: float) -> None:
    if seconds > limit_s + _TOLERANCE_S:
        raise InputError(
            f"{name} lasts {_clock(seconds)}, the limit is {_clock(limit_s)}", "Cut it, or raise the limit"
        )


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _converted(
    name: str, frames: Iterator[av.AudioFrame], rate: int, most_channels: int, limit_s: float
) -> Iterator[Array]:
    """Decoded frames -> chunks (n, channels) at the wanted rate. Channels beyond the wanted number are mixed down."""
    resamplers: list[StreamResampler] = []
    rate_in, channels, received = 0, 0, 0
    for frame in frames:
        chunk = _planes(frame)
        chunk = chunk[:2] if most_channels == 2 and len(chunk) in (1, 2) else chunk.mean(axis=0, keepdims=True)
        if not resamplers:
            rate_in, channels = frame.sample_rate, len(chunk)
            if not _RATES[0] <= rate_in <= _RATES[1]:
                raise InputError(f"{name} claims a sample rate of {rate_in} Hz", "Convert it to a plain WAV first")
            resamplers = [StreamResampler(rate_in, rate) for _ in range(channels)]
        if frame.sample_rate != rate_in or len(chunk) != channels:
            raise InputError(f"{name} changes its sample rate or channels midway", "Convert it to a plain WAV first")
        received += chunk.shape[1]
        if received > (limit_s + _TOLERANCE_S) * rate_in:
            raise InputError(f"{name} lasts longer than the limit of {_clock(limit_s)}", "Cut it, or raise the limit")
        yield _side_by_side([r.push(c) for r, c in zip(resamplers, chunk, strict=True)])
    if resamplers:
        yield _side_by_side([r.flush() for r in resamplers])


def _side_by_side(channels: list[Array]) -> Array:
    sound = np.stack(channels, axis=1)
    return np.clip(np.nan_to_num(sound, copy=False), -1.0, 1.0)


def _planes(frame: av.AudioFrame) -> Array:
    """(channels, n) float32 in [-1, 1] of a decoded frame, whatever its sample format."""
    data: NDArray[Any] = frame.to_ndarray()
    channels = frame.layout.nb_channels
    if not frame.format.is_planar:
        data = data.reshape(-1, channels).T
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128.0) / 128.0
    if np.issubdtype(data.dtype, np.integer):
        return data.astype(np.float32) / float(-np.iinfo(data.dtype).min)
    return data.astype(np.float32)
