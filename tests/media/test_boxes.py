"""Boxes, byte by byte."""

from __future__ import annotations

import struct

import pytest

from being.media.boxes import DELTA_SAMPLE, SYNC_SAMPLE, Sample, TrackRun, box, fragment, full_box


def test_boxes_say_their_size() -> None:
    assert box(b"free", b"ab", b"c") == b"\0\0\0\x0bfreeabc"
    assert full_box(b"mfhd", 1, 2, b"x") == b"\0\0\0\x0dmfhd\1\0\0\2x"


def test_a_fragment_points_at_its_data() -> None:
    video = TrackRun(1, 3000, [Sample(b"AAAA", 1000), Sample(b"BB", 1000, sync=False)])
    sound = TrackRun(2, 4096, [Sample(b"CCC", 1024)])
    data = fragment(7, [video, sound])
    moof_size = int.from_bytes(data[:4], "big")
    assert data[4:8] == b"moof" and data[moof_size + 4 : moof_size + 8] == b"mdat"
    offsets = []
    at = data.find(b"trun")
    while at >= 0:
        offsets.append(int.from_bytes(data[at + 12 : at + 16], "big"))
        at = data.find(b"trun", at + 4)
    assert [data[offset : offset + 3] for offset in offsets] == [b"AAA", b"CCC"]
    assert data.endswith(b"AAAABBCCC")


VIDEO = TrackRun(1, 1 << 33, [Sample(b"AAAA", 1000), Sample(b"BB", 1000, sync=False)])
SOUND = TrackRun(2, 4096, [Sample(b"CCC", 1024)])


@pytest.mark.parametrize("runs", [[VIDEO], [SOUND], [VIDEO, SOUND], [SOUND, VIDEO, SOUND]])
def test_a_fragment_is_its_boxes(runs: list[TrackRun]) -> None:
    def track_fragment(run: TrackRun, data_offset: int) -> bytes:
        rows = [
            struct.pack(">III", one.duration, len(one.data), SYNC_SAMPLE if one.sync else DELTA_SAMPLE)
            for one in run.samples
        ]
        return box(
            b"traf",
            full_box(b"tfhd", 0, 0x020000, struct.pack(">I", run.track)),
            full_box(b"tfdt", 1, 0, struct.pack(">Q", run.start)),
            full_box(b"trun", 0, 0x701, struct.pack(">Ii", len(run.samples), data_offset), *rows),
        )

    def moof(offsets: list[int]) -> bytes:
        tracks = [track_fragment(run, offset) for run, offset in zip(runs, offsets, strict=True)]
        return box(b"moof", full_box(b"mfhd", 0, 0, struct.pack(">I", 9)), *tracks)

    data = [b"".join(one.data for one in run.samples) for run in runs]
    offsets, at = [], len(moof([0] * len(runs))) + 8
    for part in data:
        offsets.append(at)
        at += len(part)
    assert fragment(9, runs) == moof(offsets) + box(b"mdat", *data)
