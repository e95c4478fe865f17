"""Kernels loaded ahead are those that a frame needs, and draw the same frame."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]

PROGRAM = """
import hashlib, sys
import numpy as np
import torch
from support.tiny import make_tiny_avatar
from being.inference.backends.cpu import CpuBackend
from being.inference.backends.cpu_kernels import load_kernels
from being.inference.frames import Drive, PixelFormat
from being.inference.renderable import RenderableAvatar
from being.model.approx import assemble, fused, pca
from being.raster.cpu import bands

FRAME = [bands.count_in_bands, bands.order_in_bands, bands.draw_bands, assemble._assemble_on_screen, fused._deform]
FRAME += [pca._add_modes] * (sys.argv[1] == "pca")
if sys.argv[2] == "ahead":
    load_kernels()
ahead = [list(kernel.signatures) for kernel in FRAME]
avatar = make_tiny_avatar()
backend, renderable = CpuBackend(sys.argv[1]), RenderableAvatar(avatar, torch.device("cpu"))
context, motion = np.ones((8, 16, 32), np.float32), avatar.motion
digest = hashlib.sha256()
for pixel_format in (PixelFormat.RGB, PixelFormat.YUV420):
    drives = [
        Drive(avatar.id, context * at, 0.3, motion.head_pose[at], motion.torso_pose[at], pixel_format=pixel_format)
        for at in range(3)
    ]
    digest.update(backend.render([(renderable, drive) for drive in drives], pixel_format).pixels.numpy().tobytes())
print(digest.hexdigest(), sum(len(kernel.signatures) for kernel in FRAME), sum(map(len, ahead)))
"""


def drawn(form: str, when: str, cache: Path) -> tuple[str, int, int]:
    """Hash of six frames, specialisations of the kernels after them, and before."""
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", PROGRAM, form, when]
    environment = {**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    digest, after, before = done.stdout.split()
    return digest, int(after), int(before)


@pytest.mark.parametrize("form", ["full", "pca"])
def test_a_frame_needs_no_kernel_beyond_those_and_is_the_same(form: str, tmp_path: Path) -> None:
    digest, after, before = drawn(form, "ahead", tmp_path)
    assert before == after
    plain, needed, none = drawn(form, "not ahead", tmp_path)
    assert none == 0 and needed == after
    assert digest == plain
