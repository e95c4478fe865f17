"""The boxes of fragmented MP4 (ISO/IEC 14496-12, -14): pure bytes, nothing encoded here."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

UNITY_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
SYNC_SAMPLE = 0x02000000  # sample_depends_on = 2: depends on no other sample
DELTA_SAMPLE = 0x01010000  # sample_depends_on = 1, sample_is_non_sync_sample
_MOOF = struct.Struct(">I4s I4sII")  # with mfhd
_TRAF = struct.Struct(">I4s I4sII I4sIQ I4sI Ii")  # with tfhd, tfdt and trun but for the samples' rows
_SAMPLE = struct.Struct(">III")


@dataclass(frozen=True)
class Sample:
    """One coded frame or sound block: its bytes, duration in the track's timescale, and whether decoding can start."""

    data: bytes
    duration: int
    sync: bool = True


@dataclass(frozen=True)
class TrackRun:
    """Consecutive samples of one track, the first at `start` in the track's timescale."""

    track: int
    start: int
    samples: Sequence[Sample]


def box(kind: bytes, *content: bytes) -> bytes:
    """A box: 32-bit size, four-letter type, content."""
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *content: bytes) -> bytes:
    """A box that starts with a version byte and 24 bits of flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *content)


def file_type() -> bytes:
    """`ftyp`: brands that know `default-base-is-moof` fragments."""
    return box(b"ftyp", b"iso6", struct.pack(">I", 512), b"iso6", b"cmfc", b"mp41")


def movie(tracks: Sequence[bytes], track_ids: Sequence[int]) -> bytes:
    """`moov` of a fragmented file: the tracks with empty sample tables, and `mvex`, which announces fragments."""
    header = full_box(
        b"mvhd",
        0,
        0,
        struct.pack(">IIIIIH10x", 0, 0, 1000, 0, 0x10000, 0x100),
        UNITY_MATRIX,
        bytes(24),
        struct.pack(">I", max(track_ids) + 1),
    )
    extends = [full_box(b"trex", 0, 0, struct.pack(">5I", track, 1, 0, 0, 0)) for track in track_ids]
    return box(b"moov", header, *tracks, box(b"mvex", *extends))


def video_track(track: int, timescale: int, width: int, height: int, parameter_sets: bytes) -> bytes:
    """`trak` of H.264 pictures; `parameter_sets` is the content of `avcC`."""
    entry = box(
        b"avc1",
        struct.pack(">6xH16xHHIIIH32sHh", 1, width, height, 0x480000, 0x480000, 0, 1, b"", 24, -1),
        box(b"avcC", parameter_sets),
        box(b"colr", b"nclx", struct.pack(">HHHB", 1, 1, 1, 0)),  # BT.709 thrice, limited range
    )
    media_header = full_box(b"vmhd", 0, 1, bytes(8))
    return _track(track, timescale, b"vide", media_header, entry, width=width, height=height)


def sound_track(track: int, rate: int, channels: int, decoder_config: bytes, bit_rate: int) -> bytes:
    """`trak` of AAC sound; `decoder_config` is the AudioSpecificConfig."""
    specific = _descriptor(5, decoder_config)
    decoder = _descriptor(4, struct.pack(">BB3xII", 0x40, 0x15, bit_rate, bit_rate), specific)
    stream = _descriptor(3, struct.pack(">HB", track, 0), decoder, _descriptor(6, b"\x02"))
    entry = box(
        b"mp4a",
        struct.pack(">6xH8xHHIHH", 1, channels, 16, 0, rate, 0),
        full_box(b"esds", 0, 0, stream),
    )
    return _track(track, rate, b"soun", full_box(b"smhd", 0, 0, bytes(4)), entry, volume=0x100)


def fragment(sequence: int, runs: Sequence[TrackRun]) -> bytes:
    """`moof` and `mdat` that carry `runs`; made with every picture, so boxes of known sizes are packed at once."""
    head = _MOOF.size + sum(_TRAF.size + _SAMPLE.size * len(run.samples) for run in runs)
    at = head + 8  # past the head of mdat
    parts = [_MOOF.pack(head, b"moof", 16, b"mfhd", 0, sequence)]
    for run in runs:
        rows = _SAMPLE.size * len(run.samples)
        parts.append(
            _TRAF.pack(
                *(_TRAF.size + rows, b"traf"),
                *(16, b"tfhd", 0x020000, run.track),  # offsets count from this moof
                *(20, b"tfdt", 1 << 24, run.start),
                *(20 + rows, b"trun", 0x001 | 0x100 | 0x200 | 0x400),  # data offset; each one's duration, size, flags
                *(len(run.samples), at),
            )
        )
        for sample in run.samples:
            flags = SYNC_SAMPLE if sample.sync else DELTA_SAMPLE
            parts.append(_SAMPLE.pack(sample.duration, len(sample.data), flags))
            at += len(sample.data)
    parts.append(struct.pack(">I4s", at - head, b"mdat"))
    parts += [sample.data for run in runs for sample in run.samples]
    return b"".join(parts)


def _track(
    track: int,
    timescale: int,
    handler: bytes,
    media_header: bytes,
    entry: bytes,
    *,
    width: int = 0,
    height: int = 0,
    volume: int = 0,
) -> bytes:
    header = full_box(
        b"tkhd",
        0,
        7,  # enabled, in the movie, in its preview
        struct.pack(">IIIII8xHHHH", 0, 0, track, 0, 0, 0, 0, volume, 0),
        UNITY_MATRIX,
        struct.pack(">II", width << 16, height << 16),
    )
    undetermined = 0x55C4  # ISO 639-2 "und"
    here = box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 1)))
    table = box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
    media = box(
        b"mdia",
        full_box(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, timescale, 0, undetermined, 0)),
        full_box(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, handler), b"being\0"),
        box(b"minf", media_header, here, table),
    )
    return box(b"trak", header, media)


def _descriptor(tag: int, *content: bytes) -> bytes:
    """An MPEG-4 descriptor (14496-1): tag, length in 7-bit groups (four bytes of it), content."""
    body = b"".join(content)
    size = len(body)
    length = bytes([0x80 | size >> 21 & 0x7F, 0x80 | size >> 14 & 0x7F, 0x80 | size >> 7 & 0x7F, size & 0x7F])
    return bytes([tag]) + length + body
