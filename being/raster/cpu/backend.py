"""The CPU backend for inference: runs the kernels of `forward` over plain threads, numpy in and numpy out.

A `NumbaRenderer` keeps its buffers from picture to picture: one object for each Python thread that draws.
`autograd` is the backend for training.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from being.errors import InputError
from being.raster.contract import scaled_low_pass
from being.raster.cpu import forward as numba_forward
from being.raster.cpu.workers import default_threads, run_on_threads

Array = NDArray[np.float32]
NO_PROBE = np.zeros((0, 2), np.float32)
LowPass = Sequence[float]  # two numbers, see `scaled_low_pass`
PLAIN: LowPass = scaled_low_pass(1.0)


LINE = 64  # bytes of a cache line, and of sixteen float32: a vector that straddles two costs twice


def aligned(size: int, dtype: DTypeLike = np.float32) -> NDArray:
    """A flat array of undefined values that starts at a cache line."""
    width = np.dtype(dtype).itemsize
    room = np.empty(size * width + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + size * width].view(dtype)


class Buffers:
    """Named scratch arrays that grow to the largest size asked for and are used again."""

    def __init__(self) -> None:
        self._flat: dict[str, NDArray] = {}

    def take(self, name: str, shape: int | Sequence[int], dtype: DTypeLike = np.float32) -> NDArray:
        """Return the named array in this shape; its content is whatever it held last."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = prod(shape)
        flat = self._flat.get(name)
        if flat is None or flat.size < size:
            # A quarter more than asked, so that sizes that creep up do not allocate every frame.
            flat = aligned(size if flat is None else size + size // 4, dtype)
            self._flat[name] = flat
        return flat[:size].reshape(shape)

    def capacity(self, name: str) -> int:
        """Return how many numbers the named array has room for."""
        return self._flat[name].size if name in self._flat else 0


@dataclass(frozen=True)
class Camera:
    """One camera, as the kernels take it."""

    view: Array  # (3, 4)
    intrinsics: Array  # (6,) fx fy cx cy, pixels; the two low-pass filters of `scaled_low_pass`, px^2
    width: int
    height: int

    @property
    def tiles_across(self) -> int:
        """Columns of tiles."""
        return -(-self.width // numba_forward.TILE_WIDTH)

    @property
    def tiles_down(self) -> int:
        """Rows of tiles."""
        return -(-self.height // numba_forward.TILE_HEIGHT)


@dataclass(frozen=True)
class TileLists:
    """The splats of one picture, ready to blend: what the backward pass keeps of the forward pass."""

    camera: Camera
    order: NDArray  # (M,) int32: which splat is the j-th from the front
    drawn: Array  # (M, DRAWN) projected splats, front to back
    starts: NDArray  # (tiles + 1,) int64: where each tile's pairs start
    pairs: NDArray  # (P, 2) int32: place in depth order, rows of the tile
    radii: Array  # (N,)

    def copy(self) -> TileLists:
        """Return lists that do not lie in the buffers."""
        arrays = (self.order.copy(), self.drawn.copy(), self.starts.copy(), self.pairs.copy(), self.radii.copy())
        return TileLists(self.camera, *arrays)


def list_splats(
    attributes: Sequence[Array], camera: Camera, threads: int, buffers: Buffers, probe: Array = NO_PROBE
) -> TileLists:
    """Project, sort and list the splats of one picture by tile.

    attributes : means (N, 3), quats (N, 4), scales (N, 3), opacities (N,), colors (N, 3), contiguous float32.
    The result lies in `buffers` and holds until their next use.
    """
    count = len(attributes[0])
    take = buffers.take
    projected, keys = take("projected", (count, numba_forward.PROJECTED)), take("keys", count)
    radii, order = take("radii", count), take("order", count, np.int32)

    def project(part: int) -> None:
        first, last = share(count, part, threads)
        place = (camera.view, camera.intrinsics, camera.width, camera.height)
        numba_forward.project(first, last, *attributes, probe, *place, projected, keys, radii)

    run_on_threads(project, threads)
    shown = numba_forward.depth_order(
        keys,
        take("keys a", count, np.uint32),
        take("order a", count, np.int32),
        take("keys b", count, np.uint32),
        order,
        take("histogram", 3 * 2048, np.int64),
    )

    tiles = camera.tiles_across * camera.tiles_down
    drawn = take("drawn", (shown, numba_forward.DRAWN))
    counts, starts = take("counts", (threads, tiles), np.int64), take("starts", tiles + 1, np.int64)
    # A splat is in about 5 tiles of a typical head; where it is more, the buffers remember.
    room = [max(1024, 10 * shown // threads, buffers.capacity(f"pair tiles {part}")) for part in range(threads)]

    def pairs_of(part: int) -> tuple[NDArray, NDArray]:
        return take(f"pair tiles {part}", room[part], np.int32), take(f"pairs {part}", (room[part], 2), np.int32)

    def list_pairs(part: int) -> int:
        first, last = share(shown, part, threads)
        place = (camera.tiles_across, camera.tiles_down, drawn, counts[part])
        found = numba_forward.list_pairs(first, last, order, projected, *place, *pairs_of(part))
        if found > room[part]:
            room[part] = found
            numba_forward.list_pairs(first, last, order, projected, *place, *pairs_of(part))
        return found

    found = run_on_threads(list_pairs, threads)
    numba_forward.place_tiles(counts, starts)
    sorted_pairs = take("sorted pairs", (sum(found), 2), np.int32)

    def sort_pairs(part: int) -> None:
        numba_forward.sort_pairs(found[part], counts[part], *pairs_of(part), sorted_pairs)

    run_on_threads(sort_pairs, threads)
    return TileLists(camera, order[:shown], drawn, starts, sorted_pairs, radii)


def blend(lists: TileLists, threads: int, buffers: Buffers, rgb: Array, alpha: Array, depth: Array) -> None:
    """Draw a picture: write rgb (H, W, 3), alpha (H, W) and depth (H, W)."""
    queue = np.zeros(1, np.int64)
    scratch = buffers.take("tile", (threads, numba_forward.TILE_SCRATCH))
    across = lists.camera.tiles_across

    def draw(part: int) -> None:
        numba_forward.blend(queue, lists.starts, lists.pairs, lists.drawn, across, rgb, alpha, depth, scratch[part])

    run_on_threads(draw, threads)


def share(count: int, part: int, parts: int) -> tuple[int, int]:
    """Return where the part-th of `parts` equal shares of `count` things starts and ends."""
    return count * part // parts, count * (part + 1) // parts


class NumbaRenderer:
    """Draws pictures for inference; keeps its buffers. Not to be shared by Python threads: give each its own."""

    def __init__(self, threads: int | None = None) -> None:
        """Draw with this many threads (default: `default_threads()`)."""
        self.threads = threads or default_threads()
        self.buffers = Buffers()

    def render(
        self,
        means: Array,
        quats: Array,
        scales: Array,
        opacities: Array,
        colors: Array,
        view: Array,
        intrinsics: Array,
        width: int,
        height: int,
        out: tuple[Array, Array, Array] | None = None,
        low_pass: LowPass = PLAIN,
    ) -> tuple[Array, Array, Array]:
        """Draw splats (shapes as `Splats`) seen by one camera: view (3, 4), intrinsics (4,), `scaled_low_pass`.

        Returns
        -------
        rgb (H, W, 3) premultiplied by coverage, alpha (H, W), depth (H, W), float32: `out`, or new arrays.
        """
        camera = camera_of(view, intrinsics, width, height, low_pass)
        lists = list_splats(_attributes(means, quats, scales, opacities, colors), camera, self.threads, self.buffers)
        if out is None:
            rgb = np.empty((height, width, 3), np.float32)
            out = (rgb, np.empty((height, width), np.float32), np.empty((height, width), np.float32))
        _check_out(out, np.float32, [(height, width, 3), (height, width), (height, width)])
        blend(lists, self.threads, self.buffers, *out)
        return out

    def render_over(
        self,
        means: Array,
        quats: Array,
        scales: Array,
        opacities: Array,
        colors: Array,
        view: Array,
        intrinsics: Array,
        background: NDArray[np.uint8],
        out: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw splats over a background (H, W, 3) uint8, whose size is the picture's.

        Returns
        -------
        picture (H, W, 3) uint8 and coverage alpha (H, W) uint8: `out`, or new arrays.
        """
        if background.ndim != 3 or background.shape[2] != 3 or background.dtype != np.uint8:
            raise InputError(f"background is {background.dtype} {background.shape}, expected uint8 (H, W, 3)")
        height, width = background.shape[:2]
        camera = camera_of(view, intrinsics, width, height)
        lists = list_splats(_attributes(means, quats, scales, opacities, colors), camera, self.threads, self.buffers)
        if out is None:
            out = (np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8))
        _check_out(out, np.uint8, [(height, width, 3), (height, width)])
        picture, alpha = out
        background = np.require(background, np.uint8, ["C", "W"])
        queue = np.zeros(1, np.int64)
        scratch = self.buffers.take("tile", (self.threads, numba_forward.TILE_SCRATCH))
        listed = (lists.starts, lists.pairs, lists.drawn, camera.tiles_across)

        def draw(part: int) -> None:
            numba_forward.blend_over(queue, *listed, background, picture, alpha, scratch[part])

        run_on_threads(draw, self.threads)
        return picture, alpha


def _float32(value: Any, shape: tuple[int, ...], name: str) -> Array:
    """Return a contiguous, writable float32 array: the kernels are compiled for that alone, not again for others."""
    array = np.require(value, np.float32, ["C", "W"])
    if array.shape != shape:
        raise InputError(f"{name} has shape {array.shape}, expected {shape}")
    return array


def _check_out(out: Sequence[NDArray], dtype: DTypeLike, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise InputError unless the kernels, which check no bounds, can write to these arrays."""
    for array, shape in zip(out, shapes, strict=True):
        if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous or not array.flags.writeable:
            raise InputError(
                f"out holds a {array.dtype} array of shape {array.shape}, expected {np.dtype(dtype)} {shape}",
                "Give contiguous, writable arrays",
            )


def _attributes(means: Array, quats: Array, scales: Array, opacities: Array, colors: Array) -> list[Array]:
    count = len(means)
    return [
        _float32(means, (count, 3), "means"),
        _float32(quats, (count, 4), "quats"),
        _float32(scales, (count, 3), "scales"),
        _float32(opacities, (count,), "opacities"),
        _float32(colors, (count, 3), "colors"),
    ]


def camera_of(view: Array, intrinsics: Array, width: int, height: int, low_pass: LowPass = PLAIN) -> Camera:
    """The camera of a view (3, 4) and intrinsics (4,)."""
    if width < 1 or height < 1:
        raise InputError(f"The picture is {width}x{height} pixels", "Give a width and height of at least 1")
    numbers = np.array([*_float32(intrinsics, (4,), "intrinsics"), *low_pass], np.float32)
    return Camera(_float32(view, (3, 4), "view"), numbers, int(width), int(height))


_of_thread = threading.local()


def thread_renderer() -> NumbaRenderer:
    """Return the calling thread's own renderer."""
    if not hasattr(_of_thread, "renderer"):
        _of_thread.renderer = NumbaRenderer()
    return _of_thread.renderer
