"""Boxes and NAL units, byte by byte."""

from __future__ import annotations

import pytest

from being.media.boxes import (
    Sample,
    TrackRun,
    avc_configuration,
    avc_sample,
    box,
    fragment,
    full_box,
    split_nal_units,
)


def test_nal_units_are_split_at_both_start_codes() -> None:
    assert split_nal_units(b"\0\0\0\1\x67ab\0\0\1\x68c\0\0\0\1\x65d") == [b"\x67ab", b"\x68c", b"\x65d"]


def test_boxes_say_their_size() -> None:
    assert box(b"free", b"ab", b"c") == b"\0\0\0\x0bfreeabc"
    assert full_box(b"mfhd", 1, 2, b"x") == b"\0\0\0\x0dmfhd\1\0\0\2x"


def test_parameter_sets_become_avcc_and_leave_the_samples() -> None:
    sps, pps, idr = b"\x67\x64\x00\x1f\xac", b"\x68\xee", b"\x65\x11\x22"
    stream = b"".join(b"\0\0\0\1" + unit for unit in (sps, pps, idr))
    assert avc_sample(stream) == b"\0\0\0\x03" + idr
    record = avc_configuration(stream)
    assert record[:6] == b"\x01\x64\x00\x1f\xff\xe1"  # version, profile, compatibility, level, 4-byte lengths, one SPS
    assert sps in record and pps in record and record.endswith(b"\xfd\xf8\xf8\0")
    with pytest.raises(ValueError, match="parameter set"):
        avc_configuration(b"\0\0\1" + idr)


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
