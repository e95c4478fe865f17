"""What the two ends of a channel say to each other, and how it becomes bytes."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from being.graph.channel.arena import NewSlab
from being.graph.channel.formats import NewFormats
from being.graph.rendered_batch import RendererLoad
from being.inference.frames import PixelFormat
from being.inference.rendered import Pictures
from being.live.request_batch import FrameRequestBatch
from being.live.requests import AudioContexts

LENGTH = struct.Struct("<Q")  # in front of each message
CHUNK = 1 << 16  # bytes read at a time
NOBODYS = 0  # number of an answer that only brings news of slabs, and asks what was released


class Hello(NamedTuple):
    """The first message of a worker. ticket : from the address it was given."""

    ticket: str


class DrawMessage(NamedTuple):
    """A worker wants a tick drawn.

    number : of the tick, by which its answer is known. live : whole sounds wait for it. kept : (R,) samples of each
    request that the message before brought. formats : see `being.graph.channel.formats`.
    released : places that are not looked at any more. contexts : of a tick whose sound was encoded, and stayed there.
    """

    number: int
    live: bool
    batch: FrameRequestBatch
    kept: list[int]
    formats: NewFormats
    released: list[tuple[int, int]]
    contexts: AudioContexts | None = None


class DropMessage(NamedTuple):
    """Nobody waits for this tick any more."""

    number: int
    released: list[tuple[int, int]]


class PlacedPictures(NamedTuple):
    """Pictures of one size in shared memory, as `being.inference.rendered.Pictures` has them by value.

    shapes : of a frame's pixels, alpha and depth, one behind the other in its place; None for what is not there.
    places : slab and index of each frame.
    """

    rows: tuple[int, ...]
    pixel_format: PixelFormat
    shapes: tuple[tuple[int, ...] | None, ...]
    places: list[tuple[int, int]]


DTYPES: tuple[np.dtype[Any], ...] = (np.dtype(np.uint8), np.dtype(np.uint8), np.dtype(np.float32))  # as the shapes


class AnswerMessage(NamedTuple):
    """A tick was drawn, or could not be.

    failure : why nothing was drawn; None. errors : by row, why a frame was not. pictures : those in shared memory.
    values : those for which it had no room. slabs : memory to map first, whose descriptors came with the message.
    dropped : slabs that are not used any more. The rest is as in `being.graph.rendered_batch.RenderedBatch`.
    """

    number: int
    failure: str | None
    errors: dict[int, str]
    pictures: list[PlacedPictures]
    values: list[Pictures]
    slabs: list[NewSlab]
    dropped: list[int]
    seconds: float
    load: RendererLoad


class ChannelLost(Exception):
    """The other end is gone; what was asked can be asked elsewhere."""


def packed(message: tuple[Any, ...]) -> bytes:
    """A message as it goes over the socket."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(body)) + body


class Unpacker:
    """Messages from bytes as they come.

    Pickles: the two ends are processes of one user on one machine, who trust each other as Serve's replicas do; the
    socket lies in a folder that is that user's alone.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def push(self, data: bytes) -> Iterator[Any]:
        """The messages that are complete now."""
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            end = LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            yield pickle.loads(body)
