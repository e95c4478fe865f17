"""A session's deliveries as messages for one client: fragmented MP4, or JPEG pictures beside PCM."""

from __future__ import annotations

import dataclasses
import struct
from typing import Protocol

import numpy as np

from being.constants import FPS
from being.live.scheduler import Delivery, Picture, Sound
from being.live.session import OUTPUT_FRAME
from being.media.contract import StreamFormat
from being.media.sinks import Fmp4Sink, JpegSink, SendQueue, deliver
from being.server.schemas import LiveFormat

OUTBOX_BYTES = 4 << 20  # about half a minute of a 512x512 stream; then the client is skipped to now
JPEG_HEAD = struct.Struct("<4sIQ")  # kind b"JPEG" or b"PCM ", frame of the session, microseconds of the stream


class Stream(Protocol):
    """Encodes; called from a worker thread, one call at a time."""

    format: LiveFormat
    media_type: str
    first: int | None
    """The session's frame that is the stream's time zero; None before its first sound."""

    def deliver(self, delivery: Delivery) -> None: ...

    def take(self) -> bytes | None:
        """What is ready to be sent as one message."""
        ...

    def cut(self) -> None:
        """Drop what a slow client has not been sent yet."""
        ...

    @property
    def waiting(self) -> bool: ...

    @property
    def dropped(self) -> int: ...

    def close(self) -> None: ...


class Mp4Stream:
    """Fragmented MP4; its clock starts with the first sound it is given, wherever the session stands."""

    format: LiveFormat = "mp4"

    def __init__(self, width: int, height: int) -> None:
        self._sink = Fmp4Sink(StreamFormat(width, height), OUTBOX_BYTES)
        self.media_type = self._sink.media_type
        self.first: int | None = None

    def deliver(self, delivery: Delivery) -> None:
        self.first = _first(self.first, delivery)
        if self.first is not None and delivery.index >= self.first:
            deliver(self._sink, dataclasses.replace(delivery, index=delivery.index - self.first))

    def take(self) -> bytes | None:
        outbox = self._sink.outbox
        pieces = []
        while (piece := outbox.take()) is not None:
            pieces.append(piece)
        return b"".join(pieces) or None

    def cut(self) -> None:
        self._sink.outbox.cut()

    @property
    def waiting(self) -> bool:
        return self._sink.outbox.size > 0

    @property
    def dropped(self) -> int:
        return self._sink.outbox.dropped

    def close(self) -> None:
        """Nothing more is sent."""
        self._sink.abort()


class JpegStream:
    """Each picture and each piece of sound a message of its own, behind a head of sixteen bytes."""

    format: LiveFormat = "jpeg"
    media_type = "image/jpeg"

    def __init__(self, width: int, height: int) -> None:
        self.first: int | None = None
        self._sink = JpegSink(self._put_picture)
        self._outbox = SendQueue(OUTBOX_BYTES, lambda: None)

    def deliver(self, delivery: Delivery) -> None:
        self.first = _first(self.first, delivery)
        if self.first is None or delivery.index < self.first:
            return
        if isinstance(delivery, Sound):
            pcm = (np.clip(delivery.pcm[:, 0], -1, 1) * 32767).astype("<i2")
            self._put(b"PCM ", delivery.index, pcm.tobytes())
        elif isinstance(delivery, Picture):
            self._sink.picture(delivery.index, delivery.record)
        else:
            self._sink.repeat(delivery.index)

    def take(self) -> bytes | None:
        return self._outbox.take()

    def cut(self) -> None:
        self._outbox.cut()

    @property
    def waiting(self) -> bool:
        return self._outbox.size > 0

    @property
    def dropped(self) -> int:
        return self._outbox.dropped

    def close(self) -> None:
        self._sink.close()

    def _put_picture(self, index: int, jpeg: bytes) -> None:
        self._put(b"JPEG", index, jpeg)

    def _put(self, kind: bytes, index: int, content: bytes) -> None:
        microseconds = (index - (self.first or 0)) * 1_000_000 // FPS
        self._outbox.put(JPEG_HEAD.pack(kind, index, microseconds) + content, starts=True)


def open_stream(format: LiveFormat, width: int, height: int) -> Stream:
    """Opening an encoder takes some milliseconds: not on the event loop."""
    return Mp4Stream(width, height) if format == "mp4" else JpegStream(width, height)


def frames_of(delivery: Delivery) -> range:
    """The session's frames a delivery is about."""
    count = len(delivery.pcm) // OUTPUT_FRAME if isinstance(delivery, Sound) else 1
    return range(delivery.index, delivery.index + count)


def _first(first: int | None, delivery: Delivery) -> int | None:
    return delivery.index if first is None and isinstance(delivery, Sound) else first
