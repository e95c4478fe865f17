"""Drawing on a CPU at speed: numpy for the condition tokens, compiled kernels from there to bytes, no PyTorch.

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

from being.avatar.folder import Avatar
from being.inference.compositing import Transparent, laid_over, straight_colours, to_bytes
from being.inference.frames import Drive
from being.inference.items import RenderItem
from being.inference.renderable import BACKDROPS, RenderableAvatar
from being.inference.rendered_frame import RenderedFrame
from being.inference.tokens import TokenEncoder
from being.inference.yuv import yuv_weights
from being.model.approx import CanonicalBlocks, Form, SplatArrays, assemble_numpy, make_deformer, offset_buffer
from being.model.approx.assemble import assemble_on_screen
from being.model.approx.deformer import with_threads
from being.model.approx.thread_split import usable_cores
from being.raster.cpu.backend import NumbaRenderer
from being.raster.cpu.picture import Backdrop, PictureRenderer, ScreenSplats
from being.raster.cpu.screen import camera_array

FloatArray = npt.NDArray[np.float32]
T = TypeVar("T")

CAMERA_VIEW = np.eye(3, 4, dtype=np.float32)  # splats arrive in camera space
YUV_WEIGHTS = yuv_weights()


class CpuBackend:
    """Draws rows on the CPU.

    Parameters
    ----------
    form : of the network; None for the one that each avatar's manifest names.
    cores : threads to draw with; 0 for all usable ones.
    """

    def __init__(self, form: Form | None = None, cores: int = 0) -> None:
        self._form = form
        self._cores = cores or usable_cores()
        self._crew = ThreadPoolExecutor(self._cores, thread_name_prefix="being-draw")
        self._renderers: dict[int, _Pool[NumbaRenderer]] = {}
        self._painters: dict[int, _Pool[PictureRenderer]] = {}
        self._backdrops: OrderedDict[int, tuple[npt.NDArray[np.uint8], Backdrop]] = OrderedDict()
        self._stages: WeakKeyDictionary[RenderableAvatar, _Stage] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def prepare(self, performer: RenderableAvatar) -> None:
        """Fit or load the avatar's form, so that its first frames do not pay for it."""
        self._stage(performer)

    def draw(self, rows: Sequence[RenderItem], finish: Callable[[RenderItem, RenderedFrame], T]) -> list[T]:
        """What `finish`, called on the thread that drew, makes of each row's frame; rows may mix avatars and sizes."""
        by_frames = len(rows) >= self._cores
        threads = 1 if by_frames else self._cores
        tokens = self._tokens(rows)

        def work(row: RenderItem, given: FloatArray) -> T:
            return finish(row, self._draw_row(*row, given, threads))

        if not by_frames:
            return [work(row, given) for row, given in zip(rows, tokens, strict=True)]
        frames = [self._crew.submit(work, row, given) for row, given in zip(rows, tokens, strict=True)]
        return [frame.result() for frame in frames]

    def _tokens(self, rows: Sequence[RenderItem]) -> list[FloatArray]:
        """(T, 64) condition tokens of each row, in one pass per avatar."""
        by_performer: dict[RenderableAvatar, list[int]] = {}
        for index, (performer, _) in enumerate(rows):
            by_performer.setdefault(performer, []).append(index)
        tokens: dict[int, FloatArray] = {}
        for performer, indices in by_performer.items():
            encoder = self._stage(performer).encoder
            tokens.update(zip(indices, encoder([rows[index][1] for index in indices]), strict=True))
        return [tokens[index] for index in range(len(rows))]

    def _draw_row(self, performer: RenderableAvatar, drive: Drive, tokens: FloatArray, threads: int) -> RenderedFrame:
        width, height = performer.frame_size(drive)
        backdrop = performer.backdrop(drive.background, width, height)
        intrinsics = np.array(performer.intrinsics(width, height), np.float32)
        stage = self._stage(performer)
        if not drive.depth and not isinstance(drive.background, Transparent):
            camera = camera_array(intrinsics, width, height)
            with stage.on_screen(tokens, drive, camera, threads) as splats, self._painter(threads) as painter:
                weights = YUV_WEIGHTS if drive.yuv else None
                return RenderedFrame(*painter.draw(splats, self._laid_out(backdrop), weights), yuv=drive.yuv)
        with stage.splats(tokens, drive, threads) as splats, self._renderer(threads) as renderer:
            attributes = (splats.means, splats.quats, splats.scales, splats.opacities, splats.colors)
            colours, alpha, depth = renderer.render(*attributes, CAMERA_VIEW, intrinsics, width, height)
        mean_depth = np.divide(depth, alpha, out=np.zeros_like(depth), where=alpha > 0) if drive.depth else None
        if isinstance(drive.background, Transparent):
            return RenderedFrame(*straight_colours(colours, alpha), mean_depth)
        return RenderedFrame(laid_over(colours, alpha, backdrop), to_bytes(alpha), mean_depth)

    def _laid_out(self, pixels: npt.NDArray[np.uint8]) -> Backdrop:
        """The backdrop as the kernels read it; performers hand out the same array for every frame."""
        with self._lock:
            kept = self._backdrops.get(id(pixels))
            if kept is None:
                kept = pixels, Backdrop.of(pixels)  # holds the array, or its id might come again
                self._backdrops[id(pixels)] = kept
                while len(self._backdrops) > BACKDROPS:
                    self._backdrops.popitem(last=False)
            return kept[1]

    def _stage(self, performer: RenderableAvatar) -> _Stage:
        with self._lock:
            if performer not in self._stages:
                self._stages[performer] = _Stage(
                    performer.avatar, self._form or performer.avatar.manifest.approximation
                )
            return self._stages[performer]

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


class _Stage:
    """One avatar laid out for drawing."""

    def __init__(self, avatar: Avatar, form: Form) -> None:
        caches = [avatar.folder] if avatar.folder else []
        self.encoder = TokenEncoder(avatar.network)
        self._deformer = make_deformer(
            form, avatar.network, avatar.gaussians, caches=caches, write_to=cache_folder(avatar.id)
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
