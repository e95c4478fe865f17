"""A live client that measures: sends speech as it is spoken, and notes when which frame and which sound arrived."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from websockets.asyncio.client import ClientConnection, connect

FPS = 25
RATE = 16_000
FRAME = RATE // FPS
VIDEO_TRACK = 1
ACKNOWLEDGE_S = 0.25
LATEST_START = 3.0  # seconds after its stream's beginning in which the speech must begin
PART = 0.5  # seconds of speech found at a time
DRIFT = 0.6  # seconds the next part may have moved
ALIKE = 0.5

Floats = npt.NDArray[np.float32]


@dataclass
class Recording:
    """What one session sent and got. Times are of one steady clock, seconds."""

    ready: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    sent: list[tuple[float, int]] = field(default_factory=list)  # when, and samples sent by then
    speech: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    refused: dict[str, Any] | None = None

    @property
    def stream(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    def stats_at(self, moment: float) -> dict[str, Any]:
        """The server's last count before a moment."""
        before = (event for when, event in reversed(self.events) if event["type"] == "stats" and when < moment)
        return next(before, {})


async def converse(url: str, speech: Floats, seconds: float, chunk_s: float = 0.02, wait_s: float = 1.0) -> Recording:
    """Listen for `wait_s`, then speak in real time, `chunk_s` at a time, until `seconds` are over."""
    recording = Recording(speech=speech)
    async with connect(url, max_size=None, compression=None, open_timeout=60) as socket:
        listening = asyncio.create_task(_listen(socket, recording))
        try:
            while not recording.ready and not listening.done():
                await asyncio.sleep(0.01)
            if recording.refused is not None:
                return recording
            await asyncio.sleep(wait_s)
            await _speak(socket, recording, seconds - wait_s, chunk_s)
            await asyncio.sleep(0.5)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    return recording


async def _speak(socket: ClientConnection, recording: Recording, seconds: float, chunk_s: float) -> None:
    chunk = round(chunk_s * RATE)
    pcm = (np.clip(recording.speech, -1, 1) * 32767).astype("<i2")
    started = time.monotonic()
    for first in range(0, min(len(pcm), round(seconds * RATE)), chunk):
        # A chunk can be sent when its last sample has been spoken.
        await asyncio.sleep(max(0.0, started + (first + chunk) / RATE - time.monotonic()))
        await socket.send(pcm[first : first + chunk].tobytes())
        recording.sent.append((time.monotonic(), first + chunk))


async def _listen(socket: ClientConnection, recording: Recording) -> None:
    received, acknowledged_at = 0, 0.0
    async for message in socket:
        now = time.monotonic()
        if isinstance(message, str):
            event = json.loads(message)
            recording.events.append((now, event))
            if event["type"] == "ready":
                recording.ready = event
            elif event["type"] == "error" and event["fatal"]:
                recording.refused = event["problem"]
                return
        else:
            recording.pieces.append((now, message))
            received += len(message)
        if now - acknowledged_at > ACKNOWLEDGE_S:
            acknowledged_at = now
            await socket.send(json.dumps({"type": "received", "bytes": received}))


def frame_arrivals(recording: Recording) -> dict[int, float]:
    """When each frame of the stream (counted from its start) was there in full."""
    arrivals: dict[int, float] = {}
    for when, piece in recording.pieces:
        for start in _video_starts(piece):
            arrivals.setdefault(start, when)
    return arrivals


def _video_starts(piece: bytes) -> Iterator[int]:
    """Frame numbers of the video runs in whole fragments; the server's stream has one picture a run."""
    for kind, body in _boxes(piece):
        if kind != b"moof":
            continue
        for part, content in _boxes(body):
            if part != b"traf":
                continue
            fields = dict(_boxes(content))
            (track,) = struct.unpack(">I", fields[b"tfhd"][4:8])
            if track == VIDEO_TRACK:
                (ticks,) = struct.unpack(">Q", fields[b"tfdt"][4:12])
                yield round(ticks / 1000)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size


def decoded(stream: bytes) -> tuple[list[int], list[int], Floats]:
    """Frame numbers that were decoded, those that look exactly like the one before, and the sound at 16 kHz."""
    frames: list[int] = []
    same: list[int] = []
    before = None
    with av.open(io.BytesIO(stream)) as container:
        container.streams.video[0].codec_context.thread_count = 1  # many are judged at once
        for frame in container.decode(video=0):
            picture = _luma(frame)
            assert frame.pts is not None and frame.time_base is not None
            frames.append(round(float(frame.pts * frame.time_base) * FPS))
            if before is not None and np.array_equal(picture, before):
                same.append(frames[-1])
            before = picture
    resampler = av.AudioResampler("flt", "mono", RATE)
    blocks, first = [], None
    with av.open(io.BytesIO(stream)) as container:
        for block in container.decode(audio=0):
            if first is None and block.pts is not None and block.time_base is not None:
                first = float(block.pts * block.time_base)
            blocks += [part.to_ndarray()[0] for part in resampler.resample(block)]
    sound = np.concatenate([np.zeros(round((first or 0.0) * RATE), np.float32), *blocks])
    return frames, same, sound


def _luma(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """(H, W), as it was decoded: a conversion takes ten times as long as decoding, and a thread for each core."""
    if not frame.format.name.startswith(("yuv", "gray")):
        raise ValueError(f"a picture without a plane of luma: {frame.format.name}")
    plane = frame.planes[0]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def alignment(speech: Floats, sound: Floats) -> tuple[npt.NDArray[np.int64], float]:
    """Where in `sound` each part of the speech is, PART by PART: offsets in samples, and how alike the two are.

    Parts are looked for near the one before, for the same sentence comes again; -1 where nothing like a part is found.
    The similarity is the mean correlation of the loud parts, 0 to 1.
    """
    offsets, scores = [], []
    part, reach = round(PART * RATE), round(DRIFT * RATE)
    low, high = 0, round(LATEST_START * RATE)
    for start in range(0, len(speech) - part + 1, part):
        said = speech[start : start + part]
        heard = sound[start + low : start + high + part]
        offsets.append(-1)
        if len(heard) < part:
            continue
        similarity = _correlation(heard, said)
        at = int(np.argmax(similarity))
        scores.append(float(similarity[at]))
        if similarity[at] > ALIKE:
            offsets[-1] = low + at
            low, high = max(0, low + at - reach), low + at + reach
    return np.array(offsets), float(np.mean(scores)) if scores else 0.0


def _correlation(heard: Floats, said: Floats) -> npt.NDArray[np.float64]:
    """Normalised cross-correlation (-1 to 1) at each place where the shorter one lies wholly within the longer one."""
    places = len(heard) - len(said) + 1
    spectrum = np.fft.rfft(heard) * np.conj(np.fft.rfft(said, len(heard)))  # what wraps around is beyond the places
    squares = np.concatenate([[0.0], np.cumsum(np.square(heard, dtype=np.float64))])
    energy = np.sqrt(np.maximum(squares[len(said) :] - squares[:places], 1e-9))
    return np.fft.irfft(spectrum, len(heard))[:places] / (energy * (float(np.linalg.norm(said)) or 1.0))


def latencies(recording: Recording, arrivals: dict[int, float], offsets: npt.NDArray[np.int64]) -> dict[int, float]:
    """For each frame, seconds from sending the last sound it is drawn from to its arrival.

    offsets: of the parts of what was sent, from `alignment`.
    """
    ahead = round(recording.ready["look_ahead_ms"] / 1000 * RATE)
    times = np.array([when for when, _ in recording.sent])
    ends = np.array([samples for _, samples in recording.sent])
    part = round(PART * RATE)
    found = {}
    for frame, arrived in sorted(arrivals.items()):
        heard_until = (frame + 1) * FRAME + ahead
        for number in np.flatnonzero(offsets >= 0):
            needed = heard_until - int(offsets[number])
            if part * number < needed <= min(part * (number + 1), int(ends[-1])):
                found[frame] = arrived - float(times[np.searchsorted(ends, needed)])
    return found
