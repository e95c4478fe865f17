"""Time of an avatar's network on a CPU, form by form, and what each form changes in the picture.

    python benchmarks/render_network.py avatars/demo [--threads 2] [--frames 40] [--json network.json]

Draws frames of the avatar's own recorded tokens and poses, each stage timed on its own, and compares every form's
picture with that of the exact network: PSNR over the pixels the person covers, mean and worst frame. The forms are
varied by `prune_below` (how little a Gaussian may move to be skipped) and, for PCA, by the number of modes. The
recorded tokens are partly those the forms were fitted to; `benchmarks/approximations.py` judges them held out.

Times are medians of wall time, and CPU time of all threads, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from being.idle_threads import let_idle_threads_sleep

let_idle_threads_sleep()  # as the being command does

import numpy as np
import torch
from numpy.typing import NDArray

from being.avatar.folder import Avatar, load_avatar
from being.model.approx import CanonicalBlocks, Deformer, SplatArrays, assemble_numpy, offset_buffer
from being.model.approx.distilled import DistilledDeformer, fit_distilled
from being.model.approx.motion_stats import PRUNE_BELOW, MotionStats, full_deformer, measure_motion, recorded_tokens
from being.model.approx.pca import MODES, PcaDeformer, fit_pca
from being.model.approx.pruned import PrunedDeformer
from being.model.deformation import assemble
from being.raster.cpu.backend import NumbaRenderer

Floats = NDArray[np.float32]
VIEW = np.eye(3, 4, dtype=np.float32)  # splats arrive in camera space
PRUNE_LEVELS = (0.0, PRUNE_BELOW / 2, PRUNE_BELOW, 2 * PRUNE_BELOW, 4 * PRUNE_BELOW)
MODE_COUNTS = (8, 16, MODES, 64)


@dataclass(frozen=True)
class Frame:
    """What drives one frame: tokens (T, 64), head and torso pose (3, 4)."""

    tokens: Floats
    head: Floats
    torso: Floats


@dataclass
class Stage:
    """One form laid out for one avatar."""

    name: str
    deformer: Deformer

    def prepare(self, avatar: Avatar, threads: int) -> None:
        self.canonical = CanonicalBlocks.of(avatar.gaussians, self.deformer)
        self.offsets = offset_buffer(self.deformer)
        self.splats = SplatArrays.empty(avatar.gaussians.count)
        self.threads = threads

    def deform(self, frame: Frame) -> None:
        self.deformer(frame.tokens, self.offsets)

    def pose(self, frame: Frame) -> None:
        assemble_numpy(self.canonical, self.offsets, frame.head, frame.torso, self.splats, self.threads)

    def draw(self, renderer: NumbaRenderer, avatar: Avatar) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Picture and coverage over the avatar's plate."""
        s = self.splats
        intrinsics = np.array(avatar.manifest.intrinsics, np.float32)
        return renderer.render_over(
            s.means, s.quats, s.scales, s.opacities, s.colors, VIEW, intrinsics, avatar.background
        )


def forms(avatar: Avatar, stats: MotionStats, threads: int) -> Iterator[Stage]:
    """The exact form first, then every variant, fitted afresh."""
    network, gaussians = avatar.network, avatar.gaussians
    yield Stage("full", full_deformer(network, gaussians, threads))
    for prune_below in PRUNE_LEVELS[1:]:
        yield Stage(f"pruned {prune_below:.4f}", PrunedDeformer(network, gaussians, stats, prune_below, threads))
    for prune_below in (0.0, PRUNE_BELOW):
        head = fit_distilled(network, gaussians, stats, prune_below=prune_below)
        yield Stage(
            f"distilled, pruned {prune_below:.4f}",
            DistilledDeformer(network, gaussians, stats, head, prune_below, threads),
        )
    for prune_below, modes in [(0.0, MODES), *((PRUNE_BELOW, count) for count in MODE_COUNTS)]:
        basis = fit_pca(network, gaussians, stats, prune_below=prune_below, modes=modes)
        name = f"pca {len(basis.modes)}, pruned {prune_below:.4f}"
        yield Stage(name, PcaDeformer(network, gaussians, stats, basis, prune_below, threads))


def timed(work: Callable[[Frame], None], frames: list[Frame]) -> tuple[float, float]:
    """Median wall and mean CPU milliseconds of a call."""
    work(frames[0])
    walls, cpu = [], time.process_time()
    for frame in frames:
        start = time.perf_counter()
        work(frame)
        walls.append(time.perf_counter() - start)
    return 1e3 * float(np.median(walls)), 1e3 * (time.process_time() - cpu) / len(frames)


def psnr(picture: NDArray[np.uint8], exact: NDArray[np.uint8], covered: NDArray[np.bool_]) -> float:
    """dB over the covered pixels; 99 where nothing differs."""
    error = ((picture[covered].astype(np.float64) - exact[covered]) / 255) ** 2
    return -10 * math.log10(max(float(error.mean()), 10**-9.9))


def driving_frames(avatar: Avatar, count: int) -> list[Frame]:
    """Recorded tokens beside recorded poses, evenly spaced over both."""
    tokens = recorded_tokens(avatar.network, count)
    at = np.linspace(0, len(avatar.motion) - 1, len(tokens)).round().astype(int)
    heads, torsos = avatar.motion.head_pose[at], avatar.motion.torso_pose[at]
    return [Frame(*parts) for parts in zip(tokens, heads, torsos, strict=True)]


def torch_row(avatar: Avatar, frames: list[Frame], threads: int) -> dict[str, object]:
    """The readable twin, for comparison: network and posing in PyTorch, float32."""
    torch.set_num_threads(threads)
    gaussians, network = avatar.gaussians, avatar.network
    with torch.inference_mode():
        features = network.canonical_features(gaussians.xyz)

        def deform(frame: Frame) -> None:
            network.offsets(features, torch.from_numpy(frame.tokens)[None], gaussians.audio_gate)

        offsets = network.offsets(features, torch.from_numpy(frames[0].tokens)[None], gaussians.audio_gate)

        def pose(frame: Frame) -> None:
            assemble(gaussians, offsets, torch.from_numpy(frame.head)[None], torch.from_numpy(frame.torso)[None])

        row: dict[str, object] = {"form": "PyTorch", "moving": gaussians.count}
        row["deform ms"], row["deform CPU ms"] = timed(deform, frames[:10])
        row["pose ms"], row["pose CPU ms"] = timed(pose, frames[:10])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--json", type=Path, default=Path("network.json"))
    arguments = parser.parse_args()
    threads: int = arguments.threads
    avatar = load_avatar(arguments.avatar)
    frames = driving_frames(avatar, arguments.frames)
    renderer = NumbaRenderer(threads)

    rows = [torch_row(avatar, frames, threads)]
    started = time.perf_counter()
    stats = measure_motion(avatar.network, avatar.gaussians)
    stats_s = time.perf_counter() - started
    exact: list[NDArray[np.uint8]] = []
    covered: list[NDArray[np.bool_]] = []
    for stage in forms(avatar, stats, threads):
        stage.prepare(avatar, threads)
        pictures: list[NDArray[np.uint8]] = []
        losses: list[float] = []
        for number, frame in enumerate(frames):
            stage.deform(frame)
            stage.pose(frame)
            picture, alpha = stage.draw(renderer, avatar)
            pictures.append(picture)
            if not exact:
                covered.append(alpha > 0)
            losses.append(psnr(picture, exact[number], covered[number]) if exact else 99.0)
        exact = exact or pictures

        def draw(_: Frame, stage: Stage = stage) -> None:
            stage.draw(renderer, avatar)

        row: dict[str, object] = {
            "form": stage.name,
            "moving": getattr(stage.deformer, "moving", avatar.gaussians.count),
            "PSNR": float(np.mean(losses)),
            "worst": min(losses),
        }
        row["deform ms"], row["deform CPU ms"] = timed(stage.deform, frames)
        row["pose ms"], row["pose CPU ms"] = timed(stage.pose, frames)
        row["draw ms"], row["draw CPU ms"] = timed(draw, frames)
        rows.append(row)

    manifest = avatar.manifest
    columns = ["form", "moving", "PSNR", "worst", "deform ms", "deform CPU ms", "pose ms", "draw ms", "draw CPU ms"]
    print(f"{manifest.id}: {manifest.gaussians} Gaussians, {manifest.width}x{manifest.height}, {threads} threads, "
          f"{len(frames)} frames, motion stats {stats_s:.1f} s")  # fmt: skip
    print("".join(f"{column:>{22 if column == 'form' else 14}}" for column in columns))
    for row in rows:
        cells = [row.get(column, "") for column in columns]
        shown = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells]
        print("".join(f"{cell:>{22 if index == 0 else 14}}" for index, cell in enumerate(shown)))
    machine = {"processor": platform.processor(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    arguments.json.write_text(json.dumps({"avatar": manifest.id, "machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
