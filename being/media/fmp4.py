"""Fragmented MP4 for streaming: bytes come out as frames go in, no muxer holds anything back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from being.media.boxes import (
    Sample,
    TrackRun,
    avc_configuration,
    avc_sample,
    file_type,
    fragment,
    movie,
    sound_track,
    video_track,
)
from being.media.contract import StreamFormat, VideoWriter
from being.media.encoders import (
    KEY_FRAME_SECONDS,
    FrameMaker,
    SoundFramer,
    configure_sound,
    configure_video,
    h264_options,
    require_av,
)

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.video.codeccontext import VideoCodecContext

VIDEO_TRACK, SOUND_TRACK = 1, 2
TICKS = 1000  # video timescale units a frame
QUALITY = 23  # x264's constant rate factor for streams
SOUND_BIT_RATE = 96_000  # a channel


class Fmp4Writer(VideoWriter):
    """Emits the head of the stream at once, then a fragment for every `frames_per_fragment` frames.

    A fragment carries the pictures and all the sound encoded so far; tracks are cut independently, each run stating its
    own start time, so neither waits for the other. The AAC encoder's priming block is left out instead of declared in
    an edit list (which not every streaming player honours): the first 21 ms of sound fade in, and time zero is time
    zero in both tracks.

    Parameters
    ----------
    emit : callable
        Takes the bytes, in order.
    frames_per_fragment : int
        1 for the least delay; 25 costs the least overhead.
    """

    def __init__(
        self,
        emit: Callable[[bytes], object],
        format: StreamFormat,
        *,
        frames_per_fragment: int = 1,
        quality: int = QUALITY,
    ) -> None:
        require_av()
        import av
        from av.codec.context import Flags

        format.require_even()
        self.format = format
        self._emit = emit
        self._frames_per_fragment = frames_per_fragment
        self._sequence = 0
        self._key_frame_wanted = True
        self.at_key_frame = False
        """While `emit` runs: whether decoding can start with the piece it is given."""
        self._pictures: list[tuple[int, bytes, bool]] = []  # pts in frames, coded data, key frame
        self._blocks: list[Sample] = []
        self._blocks_start = 0  # samples
        self._closed = False

        video = av.CodecContext.create("libx264", "w")
        configure_video(video, format, "yuv420p")
        video.gop_size = KEY_FRAME_SECONDS * format.fps
        video.options = h264_options(live=True, quality=quality)
        video.flags |= Flags.global_header
        video.open()
        self._video: VideoCodecContext | None = video
        self._make_frame = FrameMaker(format, "yuv420p")
        configuration = avc_configuration(bytes(video.extradata or b""))
        timescale = TICKS * format.fps
        tracks = [video_track(VIDEO_TRACK, timescale, format.width, format.height, configuration)]
        codecs = [f"avc1.{configuration[1:4].hex()}"]

        self._sound: AudioCodecContext | None = None
        if format.sound_channels:
            sound = av.CodecContext.create("aac", "w")
            bit_rate = SOUND_BIT_RATE * format.sound_channels
            configure_sound(sound, format, "fltp", bit_rate)
            sound.flags |= Flags.global_header
            sound.open()
            self._sound = sound
            self._sound_block = int(sound.frame_size)
            self._framer = SoundFramer(format, sound.frame_size, "fltp")
            config = bytes(sound.extradata or b"")
            tracks.append(sound_track(SOUND_TRACK, format.sound_rate, format.sound_channels, config, bit_rate))
            codecs.append("mp4a.40.2")
        self.media_type = f'video/mp4; codecs="{", ".join(codecs)}"'
        emit(file_type() + movie(tracks, range(1, len(tracks) + 1)))

    def request_key_frame(self) -> None:
        """Make the next frame one that decoding can start at: for a client that joins or skipped."""
        self._key_frame_wanted = True

    def write_frame(self, picture: np.ndarray, pts: int) -> None:
        from av.video.frame import PictureType

        video = self._video
        if video is None:  # given up meanwhile by another thread
            return

        frame = self._make_frame(picture, pts)
        if self._key_frame_wanted:
            frame.pict_type = PictureType.I
            self._key_frame_wanted = False
        self._take_pictures(video.encode(frame))
        if len(self._pictures) >= self._frames_per_fragment:
            self.flush()

    def write_sound(self, pcm: np.ndarray) -> None:
        sound = self._sound
        if sound is not None:
            for frame in self._framer.push(pcm):
                self._take_blocks(sound.encode(frame))

    def flush(self) -> None:
        """Emit what has been encoded, even where the fragment is not full: sound must not wait for a late picture."""
        runs = []
        if self._pictures:
            times = [pts for pts, _, _ in self._pictures]
            durations = [after - before for before, after in pairwise(times)] + [1]
            samples = [
                Sample(data, TICKS * duration, key)
                for (_, data, key), duration in zip(self._pictures, durations, strict=True)
            ]
            runs.append(TrackRun(VIDEO_TRACK, TICKS * times[0], samples))
        if self._blocks:
            runs.append(TrackRun(SOUND_TRACK, self._blocks_start, self._blocks))
        if runs:
            self._sequence += 1
            self.at_key_frame = bool(self._pictures) and self._pictures[0][2]
            self._emit(fragment(self._sequence, runs))
            self._blocks_start += sum(block.duration for block in self._blocks)
            self._pictures, self._blocks = [], []

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._video is not None:
            self._take_pictures(self._video.encode(None))
        if self._sound is not None:
            for frame in self._framer.flush():
                self._take_blocks(self._sound.encode(frame))
            self._take_blocks(self._sound.encode(None))
        self.flush()

    def abort(self) -> None:
        """Stop without the tail; what was emitted is with the client already. Encoders and their threads go now."""
        self._closed = True
        self._video = self._sound = None

    def _take_pictures(self, packets: list) -> None:
        for packet in packets:
            self._pictures.append((int(packet.pts), avc_sample(bytes(packet)), packet.is_keyframe))

    def _take_blocks(self, packets: list) -> None:
        for packet in packets:
            if packet.pts >= 0:  # the priming block ends at 0
                self._blocks.append(Sample(bytes(packet), self._sound_block))
