"""The poses of frames once the person is finished: held-out ones looked up, all smoothed as far as pictures bear it."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from being.training.loop import Trainer
from being.training.model.pose_smoothing import smooth_poses
from being.training.quality.evaluate import mean_psnr, spaced
from being.training.schedule import NETWORK, Stage, decay

LOOK_UPS = 50  # of each held-out frame's pose (measured: after 50 they move by 0.03 dB)
LOOK_UP_SHARE = 0.02  # of all pictures drawn while training that this may take
LOOK_UP_FINAL = 0.05  # of the poses' rate at its end
COMPARED = 12  # training frames, and held-out ones, by which the smoothing is chosen


def finish_poses(trainer: Trainer, breaks: NDArray[np.bool_]) -> dict[str, float]:
    """Look up and smooth, every worker alike. breaks : (T - 1,) where time does not go on.

    Returns what `smooth_poses` does.
    """
    look_up(trainer)
    known = [*trainer.footage.train, *trainer.footage.held_out.all]
    return smooth_poses(trainer.run.corrections, known, breaks, lambda: fidelity(trainer))


def look_up(trainer: Trainer) -> None:
    """Move held-out poses on until they lie still against the finished person.

    Followed beside the training they are always a little behind it. Nothing but these poses changes.
    """
    held, corrections = trainer.footage.held_out.all, trainer.run.corrections
    at_once = min(trainer.config.batch, len(held))
    if not at_once or "head" not in corrections.rates:
        return
    drawn = trainer.config.batch * sum(trainer.run.steps().values())
    rounds = min(LOOK_UPS, int(LOOK_UP_SHARE * drawn / len(held)))
    turns = rounds * -(-len(held) // at_once)
    optimizer = torch.optim.Adam(corrections.poses)  # a fresh one leaves a pose without gradients where it is
    # A few rounds must come to rest too; and for the root see `FrameCorrections`.
    rate = corrections.config.pose * (rounds / LOOK_UPS) * math.sqrt(at_once / len(held))
    trainer.progress.part("poses")
    for turn in range(turns):
        followed = trainer.follow(Stage(NETWORK, 1), turn)
        trainer.process_group.sum(followed)
        for pose, gradient in zip(corrections.poses, followed, strict=True):
            pose.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = rate * decay(turn / turns, LOOK_UP_FINAL)
        optimizer.step()
        trainer.progress.update((turn + 1) / turns)
    optimizer.zero_grad(set_to_none=True)


def fidelity(trainer: Trainer) -> float:
    """Mean PSNR over the person, the box around the lips left out as in `Trainer.follow`, of frames as posed now."""
    run, footage = trainer.run, trainer.footage
    frames = [*spaced(footage.train, COMPARED), *spaced(footage.held_out.all, COMPARED)]
    drawn = run.gaussians.gaussians(), run.network, footage, trainer.settings, run.corrections
    return mean_psnr(frames, *drawn, most=len(frames), lips=False) or 0.0
