"""The settings of H.264 that `encoding.py` compares."""

from __future__ import annotations

from dataclasses import dataclass

from being.constants import FPS
from being.media.contract import StreamFormat
from being.media.video_encoder import VideoSettings

PLAIN = {"preset": "superfast", "tune": "zerolatency", "profile": "baseline"}


@dataclass(frozen=True)
class Candidate:
    """x264's options, the threads of one encoder, frames between forced key frames (0: none but the first)."""

    options: dict[str, str]
    threads: int = 1
    key_every: int = 2 * FPS


def _of(params: str = "", *, threads: int = 1, key_every: int = 2 * FPS, **options: str) -> Candidate:
    chosen = PLAIN | options | ({"x264-params": params} if params else {})
    return Candidate(chosen, threads, key_every)


CANDIDATES = {
    "superfast": _of(),
    "ultrafast": _of(preset="ultrafast"),
    "veryfast": _of(preset="veryfast"),
    "faster": _of(preset="faster"),
    "main": _of(profile="main"),
    "high": _of(profile="high"),
    "two threads": _of(threads=2),
    "tune animation": _of(tune="zerolatency,animation"),
    "tune stillimage": _of(tune="zerolatency,stillimage"),
    "subme 0": _of("subme=0"),
    "subme 2": _of("subme=2"),
    "no deblocking": _of("no-deblock=1"),
    "partitions none": _of("partitions=none"),
    "dead zone 32, 16": _of("deadzone-inter=32:deadzone-intra=16"),
    "aq 0.4": _of("aq-strength=0.4"),
    "aq 2": _of("aq-mode=2"),
    "aq 0": _of("aq-mode=0"),
    "aq 0, high": _of("aq-mode=0", profile="high"),
    "aq 0, deblocking 1,1": _of("aq-mode=0:deblock=1,1"),
    "ultrafast, deblocking 1,1": _of("no-deblock=0:deblock=1,1", preset="ultrafast"),
    "key frames 5 s apart": _of(key_every=5 * FPS),
    "key frames 10 s apart": _of(key_every=10 * FPS),
    "intra refresh": _of("intra-refresh=1:keyint=50", key_every=0),
}
WITH_VMAF = ("ultrafast", "aq 0")


def live_candidate(format: StreamFormat) -> Candidate:
    """What `VideoSettings()` stands for, with the key frames that H264Encoder asks for."""
    settings = VideoSettings()
    options = settings.options("3.1")
    return Candidate(options, settings.threads, settings.key_frame_s * format.fps)
