"""Boxes, byte by byte."""

from __future__ import annotations

from being.media.boxes import Sample, TrackRun, box, fragment, full_box


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
