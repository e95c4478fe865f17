"""Where a face lies, by avatar."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from support.tiny import make_tiny_avatar

from being.avatar.folder import save_avatar
from being.avatar.library import Library
from being.refine.streamdiffusion.faces import FacePlanes, face_plane


def test_the_plane_goes_through_what_the_sound_moves() -> None:
    avatar = make_tiny_avatar()
    gaussians, motion = avatar.gaussians, avatar.motion
    middle = np.median(gaussians.xyz[gaussians.audio_gate > 0.5].numpy(), axis=0)
    plane = face_plane(avatar)
    assert plane.z == pytest.approx(middle[2])
    distances = [pose[2, :3] @ middle + pose[2, 3] for pose in motion.head_pose]
    assert plane.distance == pytest.approx(float(np.median(distances)), rel=1e-5)
    assert plane.recorded == (avatar.manifest.width, avatar.manifest.height)


def test_where_the_sound_moves_nothing_the_head_counts() -> None:
    avatar = make_tiny_avatar()
    avatar.gaussians.audio_gate.zero_()
    head = avatar.gaussians.xyz[avatar.gaussians.head_weight > 0.5]
    assert face_plane(avatar).z == pytest.approx(float(np.median(head[:, 2].numpy())))


def test_an_avatar_that_changed_is_read_again_when_it_is_loaded(tmp_path: Path) -> None:
    now = [0.0]
    save_avatar(make_tiny_avatar("one", 0), tmp_path / "one")
    planes = FacePlanes(Library([tmp_path], clock=lambda: now[0]))
    before = planes.of("one")
    assert planes.load("one") is before
    save_avatar(make_tiny_avatar("one", 1), tmp_path / "one", replace_existing=True)
    os.utime(tmp_path / "one" / "avatar.json")
    now[0] += 10
    assert planes.of("one") is before  # a frame never waits for the disk
    assert planes.load("one") != before
