"""Frame stages: what they get, what they may do, and that they cost nobody else anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.red_square import RedSquare
from support.tiny import make_tiny_avatar

from being.avatar.library import Library
from being.inference.engine import Engine
from being.inference.frame_batch import FrameBatch, FrameStage
from being.inference.frames import Drive, Extras, PixelFormat

MOTION = make_tiny_avatar().motion


def drive(avatar: str, frame: int, **fields: object) -> Drive:
    context = np.random.default_rng(frame).normal(size=(8, 16, 32)).astype(np.float32)
    made = Drive(avatar, context, 0.3, MOTION.head_pose[frame], MOTION.torso_pose[frame], index=frame, session=avatar)
    return replace(made, **fields)  # type: ignore[arg-type]


class Untouched(FrameStage):
    """Hands frames on as they came."""

    needs = Extras.NONE

    def __call__(self, batch: FrameBatch) -> FrameBatch:
        return batch


class Refuses(FrameStage):
    """Fails on the frames of one avatar."""

    needs = Extras.NONE

    def __call__(self, batch: FrameBatch) -> FrameBatch:
        if "other" in batch.info.avatars:
            raise ValueError("not this one")
        return batch


@pytest.fixture(params=["off", "full"])
def fast(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_stage_sees_all_frames_of_a_size_together(tiny_folder: Path, fast: str) -> None:
    stage = RedSquare()
    engine = Engine(Library([tiny_folder]), "cpu", fast, stages=[stage])  # type: ignore[arg-type]
    drives = [drive("tiny", 0), drive("other", 3, pixel_format=PixelFormat.YUV420), drive("tiny", 9)]
    records = engine.render(drives)
    (batch,) = stage.batches
    assert sorted(batch.info.indices.tolist()) == [0, 3, 9] and batch.info.face_boxes is not None
    assert [(record.avatar, record.session, record.index) for record in records] == [
        ("tiny", "tiny", 0), ("other", "other", 3), ("tiny", "tiny", 9)
    ]  # fmt: skip
    assert records[0].image is not None and (records[0].image[8, 8] == (255, 0, 0)).all()
    assert records[1].image is not None and records[1].image.shape == (72, 64)
    assert records[1].image[8, 8] == 63, "red's luma in BT.709, limited range"


def test_a_stage_that_changes_nothing_changes_no_picture(tiny_folder: Path, fast: str) -> None:
    library = Library([tiny_folder])
    staged = Engine(library, "cpu", fast, stages=[Untouched()])  # type: ignore[arg-type]
    bare = Engine(library, "cpu", fast)  # type: ignore[arg-type]
    drives = [drive("tiny", 0), drive("other", 3)]
    for ours, theirs in zip(staged.render(drives), bare.render(drives), strict=True):
        assert np.array_equal(ours.image, theirs.image) and np.array_equal(ours.alpha, theirs.alpha)  # type: ignore[arg-type]


def test_a_stage_that_fails_on_one_frame_fails_that_frame_alone(tiny_folder: Path) -> None:
    engine = Engine(Library([tiny_folder]), "cpu", "full", stages=[Refuses()])
    good, bad = engine.render([drive("tiny", 0), drive("other", 3)])
    assert good.error is None and good.image is not None
    assert bad.image is None and bad.error is not None and "not this one" in bad.error


class Selective(RedSquare):
    """Concerned with the frames that ask for it."""

    def concerns(self, drive: Drive) -> bool:
        return drive.refine > 0


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB, PixelFormat.YUV420])
def test_frames_no_stage_is_concerned_with_are_drawn_as_without_any(
    tiny_folder: Path, pixel_format: PixelFormat
) -> None:
    library = Library([tiny_folder])
    stage = Selective()
    staged, bare = Engine(library, "cpu", "full", stages=[stage]), Engine(library, "cpu", "full")
    drives = [drive("tiny", frame, pixel_format=pixel_format) for frame in range(3)]
    drives[1] = replace(drives[1], refine=0.5)
    ours, theirs = staged.render(drives), bare.render(drives)
    (batch,) = stage.batches
    assert batch.info.indices.tolist() == [1] and batch.info.strengths.tolist() == [0.5]
    for row in (0, 2):
        assert np.array_equal(ours[row].image, theirs[row].image)  # type: ignore[arg-type]
    assert not np.array_equal(ours[1].image, theirs[1].image)  # type: ignore[arg-type]


def test_a_strength_that_is_none_fails_its_frame_alone(tiny_folder: Path) -> None:
    good, bad = Engine(Library([tiny_folder]), "cpu", "full").render([drive("tiny", 0), drive("tiny", 1, refine=1.5)])
    assert good.error is None and bad.error is not None and "refine is 1.5" in bad.error
