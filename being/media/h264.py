"""H.264 byte streams (ITU-T H.264 Annex B) taken apart, and put together as MP4 (ISO/IEC 14496-15) stores them."""

from __future__ import annotations

import struct

NAL_SPS, NAL_PPS, NAL_DELIMITER = 7, 8, 9  # nal_unit_type
START_CODE = b"\0\0\0\1"


def split_nal_units(annex_b: bytes) -> list[bytes]:
    """The NAL units of a byte stream (start codes 00 00 01, trailing zeros are padding)."""
    units = []
    start = annex_b.find(b"\0\0\1")
    while start >= 0:
        end = annex_b.find(b"\0\0\1", start + 3)
        unit = annex_b[start + 3 : end if end >= 0 else len(annex_b)].rstrip(b"\0")
        if unit:
            units.append(unit)
        start = end
    return units


def avc_configuration(annex_b: bytes) -> bytes:
    """The content of `avcC` from the encoder's parameter sets in byte stream form, 4:2:0 with 8 bits."""
    units = split_nal_units(annex_b)
    sps = [unit for unit in units if unit[0] & 31 == NAL_SPS]
    pps = [unit for unit in units if unit[0] & 31 == NAL_PPS]
    if not sps or not pps:
        raise ValueError("no sequence or picture parameter set among the encoder's headers")
    out = struct.pack(">B3sBB", 1, sps[0][1:4], 0xFF, 0xE0 | len(sps))
    out += b"".join(struct.pack(">H", len(unit)) + unit for unit in sps)
    out += struct.pack(">B", len(pps)) + b"".join(struct.pack(">H", len(unit)) + unit for unit in pps)
    if sps[0][1] in (100, 110, 122, 144):  # the High profiles also state chroma format and bit depths
        out += bytes([0xFC | 1, 0xF8, 0xF8, 0])
    return out


def codec_string(annex_b: bytes) -> str:
    """RFC 6381 name of the stream, `avc1.PPCCLL`: profile, constraints and level as its sequence parameter set has."""
    return f"avc1.{avc_configuration(annex_b)[1:4].hex()}"


def avc_sample(annex_b: bytes) -> bytes:
    """A coded picture as MP4 stores it: each NAL unit behind its length; parameter sets live in `avcC`."""
    outside = (NAL_SPS, NAL_PPS, NAL_DELIMITER)
    units = [unit for unit in split_nal_units(annex_b) if unit[0] & 31 not in outside]
    return b"".join(struct.pack(">I", len(unit)) + unit for unit in units)


def with_parameter_sets(annex_b: bytes, parameter_sets: bytes) -> bytes:
    """A key frame as RTP and byte stream files want it: the parameter sets in front."""
    units = [unit for unit in split_nal_units(parameter_sets) if unit[0] & 31 in (NAL_SPS, NAL_PPS)]
    return b"".join(START_CODE + unit for unit in units) + annex_b
