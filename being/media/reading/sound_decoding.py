"""Packets of one sound track -> decoded frames, whatever is damaged between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from being.errors import InputError
from being.media.reading.file_clock import PacketLog, watched
from being.media.reading.input_container import read_packets

if TYPE_CHECKING:
    import av

RATES = (20, 6_200_000)  # Hz that a header may claim; a filter for an absurd rate would fill the memory

_SAMPLES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_SAFE_PLANES = 8  # PyAV reads past the pointers of frames with as many planes or more; past 8 it leaves the frame

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Failure:
    """A packet that could not be decoded: when it is stamped (NaN: not at all), and the frame that came next."""

    stamp_s: float
    seconds: float
    before_frame: int


@dataclass
class SoundDecoder:
    """Decodes one stream of an opened container, once.

    Attributes
    ----------
    failures : packets that could not be decoded, so far. packets : those that could.
    log : stamps of the packets of all watched streams, so far, where asked for.
    """

    name: str
    container: av.container.InputContainer
    stream: Any
    log: PacketLog | None = None
    failures: list[Failure] = field(default_factory=list)
    packets: int = 0

    def frames(self) -> Iterator[tuple[float, av.AudioFrame]]:
        """Decoded frames that hold sound, each with its time stamp in seconds as the file states it, or NaN.

        Raises
        ------
        InputError
            The file claims a sample rate that no sound has.
        """
        import av

        base = float(self.stream.time_base or 0)
        count = 0
        streams = [self.stream] if self.log is None else watched(self.container)
        for packet in read_packets(self.container, streams):
            flush = packet.size == 0 and packet.pts is None and packet.dts is None
            if packet.size == 0 and not flush:
                continue
            if self.log is not None and not flush:
                self.log.add(packet)
            if packet.stream_index != self.stream.index:
                continue
            stamp = packet.pts if packet.pts is not None else packet.dts
            at = np.nan if stamp is None else stamp * base
            try:
                decoded = packet.decode()
            except (av.error.FFmpegError, ValueError):
                if not flush:
                    self.failures.append(Failure(at, (packet.duration or 0) * base, count))
                continue
            self.packets += not flush
            for frame in decoded:
                if not isinstance(frame, av.AudioFrame) or not frame.samples:
                    continue
                if not RATES[0] <= frame.sample_rate <= RATES[1]:
                    problem = f"{self.name} claims a sample rate of {frame.sample_rate} Hz"
                    raise InputError(problem, "Convert it to a plain WAV first")
                at = at if frame.time is None else frame.time
                yield at, frame
                at += frame.samples / frame.sample_rate  # of a packet's frames the first may be the only one stamped
                count += 1


def planes_of(frame: av.AudioFrame) -> Array:
    """(channels, n) float32 in [-1, 1] of a decoded frame, whatever its sample format; what is no number is silence."""
    data = _channels_of(frame)
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128.0) / 128.0
    if np.issubdtype(data.dtype, np.integer):
        return data.astype(np.float32) / float(-np.iinfo(data.dtype).min)
    return np.nan_to_num(data.astype(np.float32), nan=0.0, posinf=1.0, neginf=-1.0)


def _channels_of(frame: av.AudioFrame) -> NDArray[Any]:
    """(channels, n) of whatever type. `to_ndarray` knows no 64-bit integers, and stacks planes that are none."""
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels > _SAFE_PLANES:
        import av

        (frame,) = av.AudioResampler(format=frame.format.packed).resample(frame)
    kind = np.dtype(_SAMPLES[frame.format.packed.name])
    if frame.format.is_planar:
        planes = frame.planes[:channels]
        return np.stack([np.frombuffer(memoryview(plane), kind, count=frame.samples) for plane in planes])
    packed = np.frombuffer(memoryview(frame.planes[0]), kind, count=frame.samples * channels)
    return packed.reshape(-1, channels).T
