"""Eight-bit pictures of splats on the screen, RGB or YUV 4:2:0: runs the kernels of `bands` over threads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from being.errors import InputError
from being.raster.cpu import bands as bands
from being.raster.cpu.backend import Array, Buffers, aligned
from being.raster.cpu.screen import RECORD
from being.raster.cpu.simd import WIDTH
from being.raster.cpu.workers import default_threads, run_on_threads

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class ScreenSplats:
    """Splats of one picture on the screen, as `screen.keep_lane` writes them.

    Attributes
    ----------
    records : (N * RECORD,) float32; undefined where a splat is not drawn.
    depths : (N,) float32, NOT_DRAWN where a splat is not drawn.
    rows : (N * 2,) int32, first and last row of the picture.
    """

    records: Array
    depths: Array
    rows: NDArray[np.int32]

    @staticmethod
    def empty(count: int) -> ScreenSplats:
        """Room for `count` splats."""
        return ScreenSplats(aligned(count * RECORD), aligned(count), aligned(2 * count, np.int32))


@dataclass(frozen=True)
class Backdrop:
    """A background as the kernels read it: by band, tile, pair of rows and channel, sixteen pixels each.

    Attributes
    ----------
    width, height : of the picture.
    tiled : flat uint8; beyond the picture's edges the last pixels are repeated.
    """

    width: int
    height: int
    tiled: Bytes

    @staticmethod
    def of(pixels: Bytes) -> Backdrop:
        """Lay out a background (H, W, 3)."""
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise InputError(f"background is {pixels.dtype} {pixels.shape}, expected uint8 (H, W, 3)")
        height, width = pixels.shape[:2]
        below, beside = -height % bands.BAND_ROWS, -width % bands.TILE_WIDTH
        padded = np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")
        parts = padded.reshape(-1, bands.PAIRS_OF_ROWS, 2, padded.shape[1] // bands.TILE_WIDTH, bands.TILE_WIDTH, 3)
        return Backdrop(width, height, np.ascontiguousarray(parts.transpose(0, 3, 1, 5, 2, 4)).reshape(-1))


class PictureRenderer:
    """Draws pictures; keeps its buffers. Not to be shared by Python threads: give each its own."""

    def __init__(self, threads: int | None = None) -> None:
        """Draw with this many threads (default: `default_threads()`)."""
        self.threads = threads or default_threads()
        self._buffers = Buffers()

    def draw(
        self,
        splats: ScreenSplats,
        backdrop: Backdrop,
        yuv: Array | None = None,
        out: tuple[Bytes, Bytes] | None = None,
    ) -> tuple[Bytes, Bytes]:
        """Lay splats over a background, whose size is the picture's and that they were projected for.

        Parameters
        ----------
        yuv : None for RGB; or (3, 4) weights of red, green, blue (0..255) and 1 in Y, U and V, for a picture of even
            size in planes of 4:2:0. Chroma is sited left and filtered [1 2 1] / 4 across.
        out : contiguous arrays for the result, which is new otherwise.

        Returns
        -------
        picture (H, W, 3), or Y, U and V as (3 H / 2, W); alpha (H, W).
        """
        width, height = backdrop.width, backdrop.height
        if yuv is not None and (height % 2 or width % 2):
            raise InputError(f"a {width}x{height} picture has no 4:2:0 planes", "Use an even width and height")
        shape = (height, width, 3) if yuv is None else (height * 3 // 2, width)
        picture, alpha = out or (np.empty(shape, np.uint8), np.empty((height, width), np.uint8))
        if picture.shape != shape or alpha.shape != (height, width):  # the kernels check no bounds
            raise InputError(f"out is {picture.shape} and {alpha.shape}, expected {shape} and {(height, width)}")
        weights = np.require(np.zeros(12) if yuv is None else yuv, np.float32, ["C", "W"]).reshape(-1)
        flat = picture.reshape(-1)
        planes = flat[:0].reshape(2, 0, 0)
        if yuv is not None:
            planes = flat[height * width :].reshape(2, height // 2, width // 2)
        starts, listed = self._in_bands(splats, height)
        tiles, longest = -(-width // bands.TILE_WIDTH), int(np.diff(starts).max())
        if longest >= bands.MOST_IN_BAND:
            raise InputError(f"{longest:,} splats meet one band of the picture", "Use an avatar with fewer Gaussians")
        threads = min(self.threads, len(starts) - 1)
        work = [self._work(part, tiles, longest) for part in range(threads)]
        queue = np.zeros(1, np.int64)
        drawn = (width, height, backdrop.tiled, flat, alpha.reshape(-1), yuv is not None, weights, planes)

        def draw(part: int) -> None:
            bands.draw_bands(queue, starts, listed, splats.records, *drawn, work[part], bands.LANE_X, bands.LANE_Y)

        run_on_threads(draw, threads)
        return picture, alpha

    def _in_bands(self, splats: ScreenSplats, height: int) -> tuple[NDArray, NDArray]:
        """Where each band's list starts (bands + 1,), and the lists."""
        take, count = self._buffers.take, len(splats.depths)
        amount = -(-height // bands.BAND_ROWS)
        starts, places = take("starts", amount + 1, np.int64), take("places", amount, np.int64)
        near, far = bands.count_in_bands(splats.depths, splats.rows, starts)
        listed = take("listed", int(starts[-1]), np.int32)
        bands.order_in_bands(
            splats.depths,
            splats.rows,
            near,
            far,
            starts,
            take("keys a", count, np.uint32),
            take("order a", count, np.int32),
            take("keys b", count, np.uint32),
            take("order b", count, np.int32),
            take("histogram", 2 * 2048, np.int64),
            places,
            listed,
        )
        return starts, listed

    def _work(self, part: int, tiles: int, longest: int) -> tuple[NDArray, ...]:
        """One thread's scratch arrays, in the order in which `draw_bands` takes them."""
        take = self._buffers.take
        return (
            take(f"scratch {part}", bands.TILE_SCRATCH),
            take(f"chroma {part}", 2 * bands.PAIRS_OF_ROWS * tiles * WIDTH),
            take(f"line {part}", 1 + tiles * bands.TILE_WIDTH),
            take(f"copies {part}", max(1, longest) * RECORD),
            take(f"stage {part}", (bands.STAGED_FIELDS + tiles) * WIDTH),
            take(f"counts {part}", tiles, np.int64),
            # Room for all in every tile: what is not used is never touched, and costs no memory.
            take(f"lists {part}", (tiles, max(1, longest)), np.int32),
            take(f"edge {part}", WIDTH, np.uint8),
        )
