"""Sound encoders: AAC and Opus give back what they were given, at its time."""

from __future__ import annotations

import av
import numpy as np
import pytest
from support.clips import lag_of, noise

from being.media import StreamFormat
from being.media.audio_encoder import AudioEncoder, AudioSettings


@pytest.mark.parametrize(("codec", "block"), [("aac", 1024), ("opus", 960)])
def test_sound_comes_back_in_blocks(codec: str, block: int) -> None:
    encoder = AudioEncoder(StreamFormat(64, 48), AudioSettings(codec))  # type: ignore[arg-type]
    sound = noise(1.0)
    packets = [packet for start in range(0, len(sound), 1777) for packet in encoder.encode(sound[start : start + 1777])]
    packets += encoder.flush()
    assert {packet.duration for packet in packets} == {block} and all(packet.key for packet in packets)
    starts = [packet.pts for packet in packets]
    assert starts[0] < 0, "priming comes before zero"
    assert np.all(np.diff(starts) == block)
    decoder = av.CodecContext.create({"aac": "aac", "opus": "libopus"}[codec], "r")
    decoder.extradata = encoder.config
    blocks = [frame.to_ndarray()[0] for packet in packets for frame in decoder.decode(av.Packet(packet.data))]
    heard = np.concatenate(blocks).astype(np.float32)
    heard = heard / 32768 if np.abs(heard).max() > 2 else heard
    skipped = int.from_bytes(encoder.config[10:12], "little") if codec == "opus" else 0  # by the decoder, as told
    assert abs(lag_of(heard[:, None], sound) + skipped + starts[0]) <= 2, "delayed by the priming and nothing else"


def test_a_silent_stream_has_no_encoder() -> None:
    with pytest.raises(ValueError, match="without sound"):
        AudioEncoder(StreamFormat(64, 48, sound_channels=0))
