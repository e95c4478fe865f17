"""Packets to fragmented MP4: a head, then fragments whenever they are asked for; nothing is held back."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from being.media.boxes import Sample, TrackRun, file_type, fragment, movie, sound_track, video_track
from being.media.contract import StreamFormat
from being.media.h264 import avc_configuration, avc_sample, codec_string
from being.media.packet import Packet

VIDEO_TRACK, SOUND_TRACK = 1, 2
TICKS = 1000  # video timescale units a frame


class Fragment(NamedTuple):
    """Bytes of a fragment; `starts`: decoding can start with it."""

    data: bytes
    starts: bool


class Fmp4Muxer:
    """H.264 and AAC packets in, `moof` and `mdat` out.

    Tracks are cut independently, each run stating its own start time, so neither waits for the other. The AAC encoder's
    priming block is left out instead of declared in an edit list (which not every streaming player honours): the first
    21 ms of sound fade in, and time zero is time zero in both tracks.

    Parameters
    ----------
    format : StreamFormat
    parameter_sets : SPS and PPS of the video encoder, Annex B.
    audio_config, audio_bit_rate : AudioSpecificConfig and bits a second of the audio encoder; None for a silent stream.
    """

    def __init__(
        self, format: StreamFormat, parameter_sets: bytes, audio_config: bytes | None = None, audio_bit_rate: int = 0
    ) -> None:
        timescale = TICKS * format.fps
        configuration = avc_configuration(parameter_sets)
        tracks = [video_track(VIDEO_TRACK, timescale, format.width, format.height, configuration)]
        codecs = [codec_string(parameter_sets)]
        if audio_config is not None:
            tracks.append(
                sound_track(SOUND_TRACK, format.sound_rate, format.sound_channels, audio_config, audio_bit_rate)
            )
            codecs.append("mp4a.40.2")
        self.head = file_type() + movie(tracks, range(1, len(tracks) + 1))
        """The bytes before the first fragment."""
        self.media_type = f'video/mp4; codecs="{", ".join(codecs)}"'
        self._sequence = 0
        self._pictures: list[Packet] = []
        self._blocks: list[Sample] = []
        self._blocks_start = 0  # samples

    @property
    def pictures(self) -> int:
        """Pictures that wait for the next fragment."""
        return len(self._pictures)

    def add(self, packet: Packet) -> None:
        """Put a packet into the next fragment."""
        if packet.track == "video":
            self._pictures.append(packet)
        elif packet.pts >= 0:  # the priming block ends at 0
            self._blocks.append(Sample(packet.data, packet.duration))

    def fragment(self) -> Fragment | None:
        """All that was added since the last one; None where that is nothing."""
        runs = []
        if self._pictures:
            times = [packet.pts for packet in self._pictures]
            durations = [after - before for before, after in pairwise(times)] + [self._pictures[-1].duration]
            samples = [
                Sample(avc_sample(packet.data), TICKS * duration, packet.key)
                for packet, duration in zip(self._pictures, durations, strict=True)
            ]
            runs.append(TrackRun(VIDEO_TRACK, TICKS * times[0], samples))
        if self._blocks:
            runs.append(TrackRun(SOUND_TRACK, self._blocks_start, self._blocks))
        if not runs:
            return None
        self._sequence += 1
        starts = bool(self._pictures) and self._pictures[0].key
        data = fragment(self._sequence, runs)
        self._blocks_start += sum(block.duration for block in self._blocks)
        self._pictures, self._blocks = [], []
        return Fragment(data, starts)
