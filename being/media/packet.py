"""A coded piece of one track, as encoders make it and muxers and network tracks take it."""

from __future__ import annotations

from typing import Literal, NamedTuple

TrackKind = Literal["video", "audio"]


class Packet(NamedTuple):
    """One coded picture or one block of coded sound.

    Attributes
    ----------
    track : which of a stream's two tracks it belongs to.
    data : H.264 as a byte stream (Annex B) without parameter sets, which the encoder holds; sound as the codec has it.
    pts, dts : presentation and decoding time. Pictures count frames, sound counts samples; both clocks start together.
    duration : in the same units.
    key : whether decoding can start here.
    """

    track: TrackKind
    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool
