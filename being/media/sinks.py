"""Where a session's frames go: told what to show and what is heard; a slow client costs only itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from being.errors import BeingError
from being.inference.frames import FrameRecord
from being.live.scheduler import Delivery, Picture, Sound
from being.media.contract import StreamFormat, VideoWriter
from being.media.fmp4 import Fmp4Writer
from being.media.jpeg import encode_jpeg


class Sink(Protocol):
    """Frames in order, each index once; sound in order. Encoding takes milliseconds: call it off the event loop."""

    def picture(self, index: int, record: FrameRecord) -> None:
        """Show a record from frame `index` on."""
        ...

    def repeat(self, index: int) -> None:
        """Frame `index` shows what was shown before."""
        ...

    def sound(self, pcm: npt.NDArray[np.float32]) -> None:
        """Append (S, channels) at 48 kHz."""
        ...

    def close(self) -> None: ...


def deliver(sink: Sink, delivery: Delivery) -> None:
    """Hand one of the conductor's deliveries to the sink of its session."""
    if isinstance(delivery, Sound):
        sink.sound(delivery.pcm)
    elif isinstance(delivery, Picture):
        sink.picture(delivery.index, delivery.record)
    else:
        sink.repeat(delivery.index)


def picture_of(record: FrameRecord, *, alpha: bool = False) -> npt.NDArray[np.uint8]:
    """The record's picture as the video writers take it, with its alpha as fourth channel if asked for.

    Raises
    ------
    BeingError
        The record carries an error instead of a picture.
    """
    if record.image is None:
        raise BeingError(record.error or f"frame {record.index} has no picture")
    if alpha and record.alpha is not None:
        return np.dstack([record.image, record.alpha])
    return record.image


class WriterSink:
    """Frames into a video writer: a file, or fragmented MP4."""

    def __init__(self, writer: VideoWriter, *, alpha: bool = False) -> None:
        self._writer = writer
        self._alpha = alpha
        self._last: npt.NDArray[np.uint8] | None = None

    def picture(self, index: int, record: FrameRecord) -> None:
        self._last = picture_of(record, alpha=self._alpha)
        self._writer.write_frame(self._last, index)

    def repeat(self, index: int) -> None:
        """Encoded again, which costs a few bytes: a stream with a hole makes some players stop."""
        if self._last is not None:
            self._writer.write_frame(self._last, index)

    def sound(self, pcm: npt.NDArray[np.float32]) -> None:
        self._writer.write_sound(pcm)

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        """Nobody waits for the rest: the encoders go at once."""
        self._writer.abort()


class SendQueue:
    """Bytes on their way to one client, bounded: when it falls behind, it skips to the next point it can start at.

    Parameters
    ----------
    limit : int
        Bytes that may wait.
    on_skip : callable
        Asked for a new starting point (a forced key frame) after something was dropped.
    """

    def __init__(self, limit: int, on_skip: Callable[[], None]) -> None:
        self._limit = limit
        self._on_skip = on_skip
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._skipping = False
        self.dropped = 0
        """Pieces the client never got."""

    def put(self, piece: bytes, *, starts: bool, keep: bool = False) -> bool:
        """Queue a piece. `starts`: decoding can start with it. `keep`: it is never dropped (a stream's head).

        Returns whether it was queued.
        """
        if self._skipping and not starts and not keep:
            self.dropped += 1
            return False
        if self._size + len(piece) > self._limit and not keep:
            self.dropped += len(self._waiting) + (not starts)
            self._waiting.clear()
            self._size = 0
            self._skipping = not starts
            if self._skipping:
                self._on_skip()
                return False
        self._skipping = self._skipping and not starts
        self._waiting.append(piece)
        self._size += len(piece)
        return True

    def cut(self) -> None:
        """What waits is not wanted any more: skip to the next starting point."""
        if self._waiting:
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self._size = 0
            self._skipping = True
            self._on_skip()

    def take(self) -> bytes | None:
        """The next piece to send, None if there is none."""
        if not self._waiting:
            return None
        piece = self._waiting.popleft()
        self._size -= len(piece)
        return piece

    @property
    def size(self) -> int:
        """Bytes waiting."""
        return self._size


class Fmp4Sink(WriterSink):
    """Fragmented MP4 to one client, a fragment a frame, skipping to a key frame when the client is slow."""

    def __init__(self, format: StreamFormat, limit: int = 4 << 20) -> None:
        self._head_sent = False
        self.outbox = SendQueue(limit, self._key_frame)
        self._stream = Fmp4Writer(self._emit, format)
        self.media_type = self._stream.media_type
        super().__init__(self._stream)

    def sound(self, pcm: npt.NDArray[np.float32]) -> None:
        """Sound goes out at once: it must not wait for a late picture."""
        self._stream.write_sound(pcm)
        self._stream.flush()

    def _key_frame(self) -> None:
        self._stream.request_key_frame()

    def _emit(self, piece: bytes) -> None:
        head = not self._head_sent
        self._head_sent = True
        self.outbox.put(piece, starts=not head and self._stream.at_key_frame, keep=head)


class JpegSink:
    """JPEG pictures to one client, each with its frame index; every one is a starting point, repeats cost nothing."""

    def __init__(self, put: Callable[[int, bytes], None], quality: int = 85) -> None:
        self._put = put
        self._quality = quality

    def picture(self, index: int, record: FrameRecord) -> None:
        self._put(index, encode_jpeg(picture_of(record), self._quality))

    def repeat(self, index: int) -> None:
        """The client goes on showing what it has."""

    def sound(self, pcm: npt.NDArray[np.float32]) -> None:
        """JPEG clients get their sound beside the pictures, from the session itself."""

    def close(self) -> None:
        """Nothing is held back."""
