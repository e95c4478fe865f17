"""A session's deliveries as messages for one client: fragmented MP4, or JPEG pictures beside PCM."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from being.constants import FPS
from being.live.scheduler import Delivery, Picture, Sound
from being.live.session import OUTPUT_FRAME
from being.media.contract import StreamFormat
from being.media.fmp4_sink import LIVE_BYTES, Fmp4Sink
from being.media.jpeg_sink import JpegSink
from being.media.media_sink import Frame, MediaSink, picture_of, size_of
from being.media.send_queue import SendQueue
from being.server.schemas import LiveFormat

JPEG_HEAD = struct.Struct("<4sIQ")  # kind b"JPEG" or b"PCM ", frame of the session, microseconds of the stream


class QueuedSink(MediaSink, Protocol):
    """A media sink whose bytes wait to be sent."""

    media_type: str
    queue: SendQueue

    def flush(self) -> None:
        """Queue what is held back for company."""
        ...


class JpegMessages:
    """Each picture and each piece of sound a message of its own, behind a head of sixteen bytes.

    first : the session's frame that is the stream's time zero.
    """

    media_type = "image/jpeg"

    def __init__(self, first: int) -> None:
        self.queue = SendQueue(LIVE_BYTES, lambda: None)
        self._first = first
        self._sink = JpegSink(self._put_picture)
        self._samples = 0

    def picture(self, index: int, frame: Frame) -> None:
        self._sink.picture(index, frame)

    def repeat(self, index: int) -> None:
        """The client goes on showing what it has."""

    def sound(self, pcm: npt.NDArray[np.float32]) -> None:
        samples = (np.clip(pcm[:, 0], -1, 1) * 32767).astype("<i2")
        self._put(b"PCM ", self._samples // OUTPUT_FRAME, samples.tobytes())
        self._samples += len(pcm)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self._sink.close()

    def _put_picture(self, index: int, jpeg: bytes) -> None:
        self._put(b"JPEG", index, jpeg)

    def _put(self, kind: bytes, index: int, content: bytes) -> None:
        head = JPEG_HEAD.pack(kind, self._first + index, index * 1_000_000 // FPS)
        self.queue.put(head + content, starts=True)


class ClientStream:
    """Encodes what one client is sent. Its clock starts with the first sound, wherever the session stands.

    `deliver` takes milliseconds: call it from a worker thread, one call at a time.
    """

    def __init__(self, format: LiveFormat, width: int, height: int) -> None:
        self._size = (width, height)
        self._joined = format == "mp4"  # bytes of a stream may be sent as one message; pictures may not
        self._sink: QueuedSink | None = Fmp4Sink(StreamFormat(width, height)) if format == "mp4" else None
        self.media_type = self._sink.media_type if self._sink is not None else JpegMessages.media_type
        self.first: int | None = None
        """The session's frame that is the stream's time zero; None before its first sound."""

    def deliver(self, batch: Sequence[Delivery]) -> None:
        """Encode a batch; what was drawn before the size was changed is left out."""
        for delivery in batch:
            if self.first is None:
                if not isinstance(delivery, Sound):
                    continue
                self.first = delivery.index
            if self._sink is None:
                self._sink = JpegMessages(self.first)
            index = delivery.index - self.first
            if index < 0:
                continue
            if isinstance(delivery, Sound):
                self._sink.sound(delivery.pcm)
            elif not isinstance(delivery, Picture):
                self._sink.repeat(index)
            elif size_of(picture_of(delivery.record)) == self._size:
                self._sink.picture(index, delivery.record)
        if self._sink is not None:
            self._sink.flush()

    def close(self) -> None:
        """The end of the stream: what the encoders still hold is ready to be taken."""
        if self._sink is not None:
            self._sink.close()

    def take(self) -> bytes | None:
        """What is ready to be sent as one message."""
        if self._sink is None:
            return None
        return self._sink.queue.take_all() if self._joined else self._sink.queue.take()

    def cut(self) -> None:
        """Drop what a slow client has not been sent yet."""
        if self._sink is not None:
            self._sink.queue.cut()

    @property
    def dropped(self) -> int:
        """Pieces the client never got."""
        return self._sink.queue.dropped if self._sink is not None else 0


def frames_of(delivery: Delivery) -> range:
    """The session's frames a delivery is about."""
    count = len(delivery.pcm) // OUTPUT_FRAME if isinstance(delivery, Sound) else 1
    return range(delivery.index, delivery.index + count)
