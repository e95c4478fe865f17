"""The stage around a refiner: who is refined, what a refiner is told, and that nothing else changes by a bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.refiners import Inverting, smooth

from being.inference.frame_batch import FrameBatch
from being.inference.frames import Extras, PixelFormat
from being.inference.rendered import FrameInfo
from being.refine.crops import CropPlaces
from being.refine.stage import RefineStage
from being.refine.windows import Window

SIDE = 64
BOX = (20.0, 24.0, 34.0, 38.0)


def batch_of(
    count: int = 3, pixel_format: PixelFormat = PixelFormat.PREMULTIPLIED, strength: float = 1.0
) -> FrameBatch:
    generator = torch.Generator().manual_seed(0)
    alpha = torch.rand(count, SIDE, SIDE, generator=generator)
    alpha[:, 24:38, 20:34] = 1.0
    pixels = smooth(SIDE, SIDE) * (0.4 + 0.2 * torch.rand(count, 1, 1, 3, generator=generator))
    if pixel_format is PixelFormat.PREMULTIPLIED:
        pixels = pixels * alpha[..., None]
    if pixel_format is PixelFormat.RGB:
        pixels, alpha = (pixels * 255).to(torch.uint8), (alpha * 255).to(torch.uint8)
    info = FrameInfo(
        tuple(f"person{row % 2}" for row in range(count)),
        tuple(f"session{row}" for row in range(count)),
        np.zeros(count, np.int64),
        np.arange(count),
        np.zeros((count, 3, 4), np.float32),
        np.tile(np.array(BOX, np.float32), (count, 1)),
        np.full(count, strength, np.float32),
    )
    backdrops = torch.randint(0, 256, (2, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)
    behind = torch.arange(count, dtype=torch.int32) % 2
    depth = torch.full((count, SIDE, SIDE), 8.0)
    return FrameBatch(info, pixels, alpha, pixel_format, backdrops, behind, np.zeros(count, bool), depth)


def told(batch: FrameBatch, **columns: object) -> FrameBatch:
    return replace(batch, info=replace(batch.info, **columns))  # type: ignore[arg-type]


@pytest.mark.parametrize("pixel_format", [PixelFormat.PREMULTIPLIED, PixelFormat.COMPOSITED, PixelFormat.RGB])
def test_the_face_is_refined_and_what_lies_beyond_stays_bit_for_bit(pixel_format: PixelFormat) -> None:
    batch = batch_of(pixel_format=pixel_format)
    out = RefineStage(Inverting())(batch)
    assert out.pixel_format is pixel_format and out.alpha is batch.alpha
    before, after = batch.composited().pixels, out.composited().pixels
    face = np.s_[:, 24:38, 20:34]
    torch.testing.assert_close(after[face], 1 - before[face], atol=1 / 255, rtol=0)
    x, y = slice(27 - 16, 27 + 16), slice(31 - 16, 31 + 16)  # the window of 32 around the box
    changed = (out.pixels != batch.pixels).any(-1)
    changed[:, y, x] = False
    assert not changed.any()


def test_what_shines_through_the_person_is_not_painted_over() -> None:
    batch = batch_of()
    batch.alpha[:, 24:38, 20:34] = 0.25
    before = batch.composited().pixels
    after = RefineStage(Inverting())(batch).composited().pixels
    face = np.s_[:, 24:38, 20:34]
    torch.testing.assert_close(after[face] - before[face], 0.25 * (1 - 2 * before[face]))


def test_no_strength_no_box_and_no_refiner_leave_the_batch_itself() -> None:
    stage, batch = RefineStage(Inverting()), batch_of()
    for same in (
        told(batch, strengths=np.zeros(3, np.float32)),
        told(batch, face_boxes=np.full((3, 4), np.nan, np.float32)),
        told(batch, avatars=("stranger",) * 3),
    ):
        assert stage(same) is same


def test_strength_blends_up_to_where_the_refiner_takes_it_over() -> None:
    plain = batch_of(1, PixelFormat.COMPOSITED, 1.0)
    half = told(plain, strengths=np.array([0.5], np.float32))
    face = np.s_[0, 24:38, 20:34]
    before = plain.pixels[face]
    torch.testing.assert_close(RefineStage(Inverting(fade=1.0))(half).pixels[face], torch.full_like(before, 0.5))
    torch.testing.assert_close(RefineStage(Inverting(fade=0.25))(half).pixels[face], 1 - before)


def test_a_row_depends_on_no_other() -> None:
    stage, batch = RefineStage(Inverting()), batch_of()
    other = told(batch, strengths=np.array([1, 0.3, 1], np.float32))
    other.pixels[1] *= 0.5
    one, two = stage(batch).pixels, stage(other).pixels
    assert torch.equal(one[0], two[0]) and torch.equal(one[2], two[2]) and not torch.equal(one[1], two[1])


def test_the_refiner_is_told_whose_crops_come_a_size_at_a_time() -> None:
    refiner, batch = Inverting((16, 32, 64), needs=Extras.DEPTH), batch_of()
    boxes = np.tile(np.array(BOX, np.float32), (3, 1))
    boxes[1] = (10, 10, 40, 40)
    RefineStage(refiner)(told(batch, face_boxes=boxes, strengths=np.array([1, 0.4, 0.7], np.float32)))
    (small, conditions, rows), (large, _, other) = refiner.calls
    assert small.shape == (2, 3, 32, 32) and large.shape == (1, 3, 64, 64)
    assert conditions.alpha.shape == (2, 1, 32, 32) and conditions.depth is not None
    assert rows.sessions == ("session0", "session2") and rows.avatars == ("person0", "person0")
    assert rows.seeds[0] == rows.seeds[1] != other.seeds[0]
    np.testing.assert_array_equal(rows.windows[0], [11, 15, 43, 47])
    np.testing.assert_allclose(rows.strengths, [1, 0.7])
    np.testing.assert_array_equal(rows.indices, [0, 2])
    x, y = 11, 15
    torch.testing.assert_close(small[1], batch.composited().pixels[2, y : y + 32, x : x + 32].permute(2, 0, 1))


def test_a_face_larger_than_every_size_is_resampled_and_keeps_what_it_had() -> None:
    batch = batch_of(1, PixelFormat.COMPOSITED)
    batch.pixels[0] = smooth(SIDE, SIDE)
    boxes = np.array([[10, 10, 50, 50]], np.float32)
    out = RefineStage(Inverting((16,)))(told(batch, face_boxes=boxes))
    face = np.s_[0, 12:48, 12:48]
    torch.testing.assert_close(out.pixels[face], 1 - batch.pixels[face], atol=0.02, rtol=0)


@pytest.mark.parametrize("pixel_format", [PixelFormat.PREMULTIPLIED, PixelFormat.COMPOSITED, PixelFormat.RGB])
def test_crops_taken_together_are_those_taken_one_by_one(pixel_format: PixelFormat) -> None:
    batch = batch_of(pixel_format=pixel_format)
    windows = [Window(11, 15, 32, 32), Window(0, 31, 32, 32), Window(32, 32, 32, 32)]
    together, each = (CropPlaces([2, 0, 1], windows, torch.device("cpu")) for _ in range(2))
    together.together = True
    assert not each.together
    behind = torch.tensor([1, 0, 1])
    for frames, rows in ((batch.pixels, None), (batch.alpha[..., None], None), (batch.backdrops, behind)):
        assert torch.equal(together.cut(frames, rows), each.cut(frames, rows))
    crops = each.cut(batch.pixels)
    torch.testing.assert_close(crops[1], each.cut(batch.pixels[:1], torch.tensor([0, 0, 0]))[1])
    one, two = batch.pixels.clone(), batch.pixels.clone()
    together.add(one, 0.3 - crops)
    each.add(two, 0.3 - crops)
    assert torch.equal(one, two) and not torch.equal(one, batch.pixels)
    assert torch.equal(one[0, :31], batch.pixels[0, :31])  # above its window
