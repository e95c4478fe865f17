"""NAL units, byte by byte."""

from __future__ import annotations

import pytest

from being.media.h264 import avc_configuration, avc_sample, codec_string, split_nal_units, with_parameter_sets


def test_nal_units_are_split_at_both_start_codes() -> None:
    assert split_nal_units(b"\0\0\0\1\x67ab\0\0\1\x68c\0\0\0\1\x65d") == [b"\x67ab", b"\x68c", b"\x65d"]


def test_parameter_sets_become_avcc_and_leave_the_samples() -> None:
    sps, pps, idr = b"\x67\x64\x00\x1f\xac", b"\x68\xee", b"\x65\x11\x22"
    stream = b"".join(b"\0\0\0\1" + unit for unit in (sps, pps, idr))
    assert avc_sample(stream) == b"\0\0\0\x03" + idr
    record = avc_configuration(stream)
    assert record[:6] == b"\x01\x64\x00\x1f\xff\xe1"  # version, profile, compatibility, level, 4-byte lengths, one SPS
    assert sps in record and pps in record and record.endswith(b"\xfd\xf8\xf8\0")
    with pytest.raises(ValueError, match="parameter set"):
        avc_configuration(b"\0\0\1" + idr)


def test_parameter_sets_go_in_front_of_a_key_frame() -> None:
    sets, idr = b"\0\0\0\1\x67\x42\xc0\x1f\0\0\1\x68\xee\0\0\1\x06sei", b"\0\0\1\x65\x11"
    assert split_nal_units(with_parameter_sets(idr, sets)) == [b"\x67\x42\xc0\x1f", b"\x68\xee", b"\x65\x11"]
    assert codec_string(sets) == "avc1.42c01f"
