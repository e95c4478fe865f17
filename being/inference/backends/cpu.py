"""Drawing on a CPU at speed: numpy for the condition tokens, compiled kernels from there to bytes.

A batch is spread over the cores by frames, each drawn by one thread: no kernel then waits for another, and nothing is
serial. Where there are fewer frames than cores (a single live frame), all cores share one frame after the other.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from being.avatar.folder import Avatar
from being.inference.compositing import Transparent, laid_over, straight_colours, to_bytes
from being.inference.frame_batch import FrameBatch
from being.inference.frames import Drive, Extras, PixelFormat
from being.inference.items import RenderItem, unique_backdrops
from being.inference.renderable import BACKDROPS, RenderableAvatar
from being.inference.rendered import FrameInfo
from being.inference.tokens import TokenEncoder
from being.inference.yuv import rgb_to_yuv420, yuv_weights
from being.model.approx import CanonicalBlocks, Form, SplatArrays, assemble_numpy, make_deformer, offset_buffer
from being.model.approx.assemble import assemble_on_screen
from being.model.approx.deformer import with_threads
from being.model.approx.lean import usual_viewpoint
from being.processors import usable_processors
from being.raster.cpu.backend import NumbaRenderer
from being.raster.cpu.picture import Backdrop, PictureRenderer, ScreenSplats
from being.raster.cpu.screen import camera_array

FloatArray = npt.NDArray[np.float32]
T = TypeVar("T")

CAMERA_VIEW = np.eye(3, 4, dtype=np.float32)  # splats arrive in camera space
YUV_WEIGHTS = yuv_weights()


class CpuBackend:
    """Draws on the CPU.

    Parameters
    ----------
    form : of the network; None for the one that each avatar's manifest names.
    cores : threads to draw with; 0 for all usable ones.
    """

    batch_sizes: Sequence[int] = (1, 2)
    max_items = 256  # one avatar's condition tokens are encoded together

    def __init__(self, form: Form | None = None, cores: int = 0) -> None:
        self._form = form
        self._cores = cores or usable_processors()
        self._threads = ThreadPoolExecutor(self._cores, thread_name_prefix="being-draw")
        self._renderers: dict[int, _Pool[NumbaRenderer]] = {}
        self._painters: dict[int, _Pool[PictureRenderer]] = {}
        self._backdrops: OrderedDict[int, tuple[npt.NDArray[np.uint8], Backdrop]] = OrderedDict()
        self._prepared: WeakKeyDictionary[RenderableAvatar, _Prepared] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def prepare(self, renderable: RenderableAvatar) -> None:
        """Fit or load the avatar's form, so that its first frames do not pay for it."""
        self._prepare(renderable)

    def render(self, items: Sequence[RenderItem], pixel_format: PixelFormat | None = None) -> FrameBatch:
        """See `RenderBackend`; what stages get is RGB bytes, the fused kernel's own."""
        for_stages, pixel_format = pixel_format is None, pixel_format or PixelFormat.RGB
        width, height = items[0][0].frame_size(items[0][1])
        drives = [drive for _, drive in items]
        shape = (height * 3 // 2, width) if pixel_format is PixelFormat.YUV420 else (height, width, 3)
        pixels = np.empty((len(items), *shape), np.uint8)
        alpha = np.empty((len(items), height, width), np.uint8)
        wants_depth = Extras.DEPTH in drives[0].extras
        depth = np.empty((len(items) if wants_depth else 0, height, width), np.float32)
        by_frames = len(items) >= self._cores
        threads = 1 if by_frames else self._cores

        def draw(row: int, tokens: FloatArray) -> None:
            mean_depth = depth[row] if wants_depth else None
            self._draw(*items[row], tokens, threads, pixels[row], alpha[row], mean_depth)

        given = self._tokens(items)
        if by_frames:
            for frame in [self._threads.submit(draw, row, tokens) for row, tokens in enumerate(given)]:
                frame.result()
        else:
            for row, tokens in enumerate(given):
                draw(row, tokens)
        # Bytes lie over their backgrounds already: only a stage may want to see those.
        nothing: tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.int32]] = [], np.zeros(len(items), np.int32)
        backdrops, backdrop_of = unique_backdrops(items, width, height) if for_stages else nothing
        return FrameBatch(
            info=FrameInfo.of(drives),
            pixels=torch.from_numpy(pixels),
            alpha=torch.from_numpy(alpha),
            pixel_format=pixel_format,
            backdrops=torch.from_numpy(np.stack(backdrops)) if backdrops else torch.empty(0, height, width, 3),
            backdrop_of=torch.from_numpy(backdrop_of),
            clear=np.array([isinstance(drive.background, Transparent) for drive in drives]),
            depth=torch.from_numpy(depth) if wants_depth else None,
        )

    def _tokens(self, items: Sequence[RenderItem]) -> list[FloatArray]:
        """(T, 64) condition tokens of each item, in one pass per avatar."""
        by_renderable: dict[RenderableAvatar, list[int]] = {}
        for index, (renderable, _) in enumerate(items):
            by_renderable.setdefault(renderable, []).append(index)
        tokens: dict[int, FloatArray] = {}
        for renderable, indices in by_renderable.items():
            encoder = self._prepare(renderable).encoder
            tokens.update(zip(indices, encoder([items[index][1] for index in indices]), strict=True))
        return [tokens[index] for index in range(len(items))]

    def _draw(
        self,
        renderable: RenderableAvatar,
        drive: Drive,
        tokens: FloatArray,
        threads: int,
        pixels: npt.NDArray[np.uint8],
        alpha: npt.NDArray[np.uint8],
        depth: FloatArray | None,
    ) -> None:
        """One frame into its places: planes where `pixels` is flat, else RGB."""
        height, width = alpha.shape
        planes, clear = pixels.ndim == 2, isinstance(drive.background, Transparent)
        backdrop = renderable.backdrop(drive.background, width, height)
        intrinsics = np.array(renderable.intrinsics(width, height), np.float32)
        low_pass = renderable.low_pass(width, height)
        prepared = self._prepare(renderable)
        if depth is None and not clear:
            camera = camera_array(intrinsics, width, height, low_pass)
            with prepared.on_screen(tokens, drive, camera, threads) as splats, self._painter(threads) as painter:
                weights = YUV_WEIGHTS if planes else None
                painter.draw(splats, self._laid_out(backdrop), weights, (pixels, alpha))
            return
        with prepared.splats(tokens, drive, threads) as splats, self._renderer(threads) as renderer:
            attributes = (splats.means, splats.quats, splats.scales, splats.opacities, splats.colors)
            seen = (CAMERA_VIEW, intrinsics, width, height)
            colours, coverage, blended = renderer.render(*attributes, *seen, low_pass=low_pass)
        if depth is not None:
            depth[:] = 0
            np.divide(blended, coverage, out=depth, where=coverage > 0)
        if clear:
            rgb, alpha[:] = straight_colours(colours, coverage)
        else:
            rgb, alpha[:] = laid_over(colours, coverage, backdrop), to_bytes(coverage)
        pixels[:] = rgb_to_yuv420(rgb) if planes else rgb

    def _laid_out(self, pixels: npt.NDArray[np.uint8]) -> Backdrop:
        """The backdrop as the kernels read it; avatars hand out the same array for every frame."""
        with self._lock:
            kept = self._backdrops.get(id(pixels))
            if kept is None:
                kept = pixels, Backdrop.of(pixels)  # holds the array, or its id might come again
                self._backdrops[id(pixels)] = kept
                while len(self._backdrops) > BACKDROPS:
                    self._backdrops.popitem(last=False)
            return kept[1]

    def _prepare(self, renderable: RenderableAvatar) -> _Prepared:
        with self._lock:
            if renderable not in self._prepared:
                avatar = renderable.avatar
                self._prepared[renderable] = _Prepared(avatar, self._form or avatar.manifest.approximation)
            return self._prepared[renderable]

    @contextmanager
    def _renderer(self, threads: int) -> Iterator[NumbaRenderer]:
        pool = self._renderers.setdefault(threads, _Pool(lambda: NumbaRenderer(threads)))
        with pool.lent() as renderer:
            yield renderer

    @contextmanager
    def _painter(self, threads: int) -> Iterator[PictureRenderer]:
        pool = self._painters.setdefault(threads, _Pool(lambda: PictureRenderer(threads)))
        with pool.lent() as painter:
            yield painter


class _Prepared:
    """One avatar laid out for drawing."""

    def __init__(self, avatar: Avatar, form: Form) -> None:
        caches = [avatar.folder] if avatar.folder else []
        self.encoder = TokenEncoder(avatar.network)
        self._deformer = make_deformer(
            form,
            avatar.network,
            avatar.gaussians,
            viewpoint=usual_viewpoint(avatar.motion.head_pose),
            caches=caches,
            write_to=cache_folder(avatar.id),
        )
        self._canonical = CanonicalBlocks.of(avatar.gaussians, self._deformer)
        count = avatar.gaussians.count
        self._offsets = _Pool(lambda: offset_buffer(self._deformer))
        self._splats = _Pool(lambda: SplatArrays.empty(count))
        self._on_screen = _Pool(lambda: ScreenSplats.empty(count))

    @contextmanager
    def splats(self, tokens: FloatArray, drive: Drive, threads: int) -> Iterator[SplatArrays]:
        """The avatar's splats in camera space, valid inside the block. tokens: (T, 64) of the frame."""
        with self._offsets.lent() as offsets, self._splats.lent() as splats:
            with_threads(self._deformer, threads)(tokens, offsets)
            yield assemble_numpy(self._canonical, offsets, drive.head_pose, drive.torso_pose, splats, threads)

    @contextmanager
    def on_screen(self, tokens: FloatArray, drive: Drive, camera: FloatArray, threads: int) -> Iterator[ScreenSplats]:
        """As `splats`, projected; camera: `camera_array` of the frame."""
        with self._offsets.lent() as offsets, self._on_screen.lent() as splats:
            with_threads(self._deformer, threads)(tokens, offsets)
            poses = (drive.head_pose, drive.torso_pose)
            yield assemble_on_screen(self._canonical, offsets, *poses, camera, splats, threads)


class _Pool(Generic[T]):
    """Things that one thread at a time may use; made when all are lent."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._free: list[T] = []  # append and pop of a list are atomic

    @contextmanager
    def lent(self) -> Iterator[T]:
        try:
            thing = self._free.pop()
        except IndexError:
            thing = self._make()
        try:
            yield thing
        finally:
            self._free.append(thing)


def cache_folder(avatar_id: str) -> Path:
    """Where fitted forms of an avatar are kept: `$XDG_CACHE_HOME/being/<id>`, by default under `~/.cache`."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "being" / avatar_id
