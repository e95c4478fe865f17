"""Train an avatar as `being.training.fit` does, and score it on the way: what was reached is known whenever it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cutout_edges import halo
from numpy.typing import NDArray

from being.dataset import Dataset
from being.progress import show_progress
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.data.speech import listen
from being.training.finished_poses import look_up
from being.training.fit import begin, choose_device, train
from being.training.loop import Stop, Trainer
from being.training.model.drawing import RenderSettings, draw
from being.training.quality.evaluate import evaluate
from being.training.run import TrainingRun
from being.training.schedule import NETWORK

FRAMES = 100  # held-out frames scored, at most


class Scoring:
    """Held-out frames of a run as it stands, and what they were after every so many steps of the network stage.

    Attributes
    ----------
    scores : by step. stop : wanted once the time is over.

    Parameters
    ----------
    truth : .npz of `frames` and their true premultiplied `layers` (N, H, W, 4).
    folder : `scores.json` is kept there after each score, `drawn.npz` after the last one.
    until : moment of time.monotonic() from which on the run is stopped; None: never.
    """

    def __init__(
        self,
        run: TrainingRun,
        footage: Footage,
        settings: RenderSettings,
        truth: Path,
        folder: Path,
        every: int,
        until: float | None,
    ) -> None:
        self._run, self._footage, self._settings = run, footage, settings
        self._tracked = footage.head_poses, footage.torso_poses
        self._folder, self._every, self._until = folder, every, until
        with np.load(truth) as known:
            self._frames: list[int] = known["frames"].tolist()
            self._right = list(known["layers"].astype(np.float32))
        self.stop = Stop()
        self.scores: dict[int, dict[str, Any]] = {}

    def report(self, point: dict[str, Any]) -> None:
        """Of each point of the curves."""
        if self._until is not None and time.monotonic() > self._until:
            self.stop.wanted = True
        if self._every and point["stage"] == NETWORK and point["step"] % self._every == 0:
            self.scores[point["step"]], _ = self.score()
            (self._folder / "scores.json").write_text(json.dumps(self.scores, indent=1))

    def last(self) -> dict[str, Any]:
        """The score of the run at its end; its pictures are kept."""
        row, drawn = self.score()
        np.savez_compressed(
            self._folder / "drawn.npz", frames=self._frames, drawn=np.stack(drawn).round().astype(np.uint8)
        )
        return row

    @torch.no_grad()
    def score(self) -> tuple[dict[str, Any], list[NDArray[np.float32]]]:
        """Metrics and halo, and the drawn layers."""
        run, footage, settings = self._run, self._footage, self._settings
        everyone = torch.arange(footage.frames, device=run.corrections.poses[0].device)
        footage.adopt(*run.corrections.posed(everyone, *self._tracked))
        try:
            gaussians = run.gaussians.gaussians()
            metrics = evaluate(gaussians, run.network, footage, settings, FRAMES).metrics()
            drawn = []
            for frame in self._frames:
                batch = footage.batch([frame])
                picture = draw(gaussians, run.network, batch, settings)
                colour = picture.rgb - (1 - picture.alpha[..., None]) * batch.behind
                both = torch.cat([colour, picture.alpha[..., None]], -1)[0]
                drawn.append((255 * both).clamp(0, 255).cpu().numpy())
        finally:
            footage.adopt(*self._tracked)  # training goes on from there
        return {**metrics, "halo": halo(self._right, drawn), "gaussians": run.gaussians.count}, drawn


def train_scored(
    captured: Path, truth: Path, folder: Path, config: FitConfig, every: int = 0, within: float | None = None
) -> dict[str, Any]:
    """A training's score at its end, `steps` by stage, and `scores` by step of the network stage.

    every : network steps between two scores, of 20; 0: at the end only. within : seconds after which it is stopped.
    """
    until = None if within is None else time.monotonic() + within
    data = Dataset(captured)
    folder.mkdir(parents=True, exist_ok=True)
    device, precision = choose_device(config)
    speech = listen(data, config, folder)
    footage = Footage(data, speech.contexts, config, device, quiet=speech.quiet)
    settings = RenderSettings(footage.background, footage.intrinsics, config.backend, precision)
    run = begin(footage, data, speech, config)
    scoring = Scoring(run, footage, settings, truth, folder, every, until)
    with show_progress() as progress:
        trainer = Trainer(
            run, footage, settings, config, None, progress, lambda: None, scoring.stop, report=scoring.report
        )
        train(trainer)
        look_up(trainer)
    return {**scoring.last(), "steps": run.steps(), "scores": scoring.scores}


def against(row: Mapping[str, Any], still: Mapping[str, Any]) -> dict[str, float | int]:
    """How much better than another a training is in held-out dB, both after the same steps.

    `step` is that of the network stage: the last one where both ended there, else the last one that both were scored
    at; {} where there is none.
    """
    ended = "held_out_psnr" in row and "held_out_psnr" in still
    if ended and row.get("steps") == still.get("steps"):
        told = {"step": row["steps"].get(NETWORK, 0)} if "steps" in row else {}
        return {"held_out_psnr": round(row["held_out_psnr"] - still["held_out_psnr"], 3), **told}
    scores, others = ({int(step): score for step, score in each.get("scores", {}).items()} for each in (row, still))
    if not (common := scores.keys() & others.keys()):
        return {}
    step = max(common)
    return {"held_out_psnr": round(scores[step]["held_out_psnr"] - others[step]["held_out_psnr"], 3), "step": step}
