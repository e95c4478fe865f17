"""What every CPU form of the network is: tokens of one frame in, blocks of offsets out."""

from __future__ import annotations

from copy import copy
from typing import Protocol, TypeVar

import numpy as np

from being.model.approx.blocks import Floats, Indices, block_count
from being.model.approx.kernels import LANES


class Deformer(Protocol):
    """Offsets of one avatar's Gaussians for one frame at a time.

    A deformer holds no state of a frame: several threads may call it at once, each with its own buffer.

    Attributes
    ----------
    order : (N,) the Gaussian that each row of the blocks is; those that move come first.
    channels : 59 for all offsets, 14 for the lean set (see `blocks`).
    baseline : (N, 59) in the Gaussians' own order, added to the canonical attributes once because it is the same in
        every frame; None for nothing.
    threads : that share one call.
    """

    threads: int

    @property
    def order(self) -> Indices: ...

    @property
    def channels(self) -> int: ...

    @property
    def baseline(self) -> Floats | None: ...

    def __call__(self, tokens: Floats, out: Floats) -> Floats:
        """Write the offsets of a frame with tokens (T, width) into `out` from `offset_buffer`; returns it."""
        ...


D = TypeVar("D", bound=Deformer)


def with_threads(deformer: D, threads: int) -> D:
    """The same deformer for another number of threads; it shares all arrays with the first."""
    other = copy(deformer)
    other.threads = threads
    return other


def offset_buffer(deformer: Deformer) -> Floats:
    """A zeroed array for `deformer` to write into, (blocks, channels, 64).

    Keep it with its deformer: blocks of Gaussians that hold still are never written, their offset is zero.
    """
    return np.zeros((block_count(len(deformer.order)), deformer.channels, LANES), np.float32)
