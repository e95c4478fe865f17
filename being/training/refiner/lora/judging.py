"""A LoRA on frames that nothing was trained on: against the render, and against its model alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from being.refine.contract import Conditions, CropRows
from being.training.loss.perceptual import Perceptual
from being.training.refiner.applied import refined_pictures
from being.training.refiner.guard import distances, ratios
from being.training.refiner.identity import Identity
from being.training.refiner.judging import (
    LEAST,
    LESS,
    LIPS_MAY_MOVE,
    Alone,
    Judged,
    film_flicker,
    lips_moved,
    scores_of,
)
from being.training.refiner.lora.adapter import Adapter
from being.training.refiner.lora.face_crops import LiveFace
from being.training.refiner.pairs import Pairs


class AdaptedInMemory:
    """A refiner of one LoRA, or of its model alone, for one avatar; see `being.refine.contract`.

    Rows run at the last timestep, as they do live at a strength of 1; below it the stage blends.
    """

    fade = 1.0

    def __init__(self, adapter: Adapter, face: LiveFace, sizes: tuple[int, ...], adapted: bool) -> None:
        self.needs, self.sizes = adapter.needs, sizes
        self._adapter, self._face, self._adapted = adapter, face, adapted

    def prepare(self, avatar: str) -> None:
        """Nothing to load."""

    def forget(self, avatar: str) -> None:
        """Nothing to let go of."""

    def knows(self, avatar: str) -> bool:
        """The one."""
        return True

    def refine(self, crops: Tensor, conditions: Conditions, rows: CropRows) -> Tensor:
        """As live, without graphs."""
        last = len(self._adapter.network.denoiser.timesteps) - 1
        places = [last] * len(rows)
        told = self._face.told(rows.head_poses, rows.windows.astype(np.float32), places, crops.shape[-1])
        refined: Tensor = self._adapter(crops, told.to(crops.device), conditions.depth, self._adapted)[0]
        return refined


@torch.no_grad()
def judge_lora(
    pairs: Pairs,
    adapter: Adapter,
    face: LiveFace,
    sizes: tuple[int, ...],
    depth: float,
    perceptual: Perceptual | None = None,
    identity: Identity | None = None,
) -> Judged:
    """Scores at the greatest strength that leaves the lips where the render has them.

    A diffusion model loses PSNR against the render by what its autoencoder cannot hold, so that a LoRA is held to what
    the model does without it at the same strength, which is what is seen where none is stored: it is harmless where
    that makes no distance to the film worse.

    pairs : held-out frames. depth : of the face in head space, dm. identity : of these frames' faces.
    """
    own, plain = (AdaptedInMemory(adapter, face, sizes, adapted) for adapted in (True, False))
    strength, pictures = 1.0, refined_pictures(pairs, own, 1.0)
    while lips_moved(pairs, pictures) > LIPS_MAY_MOVE and strength > LEAST:
        strength *= LESS
        pictures = refined_pictures(pairs, own, strength)
    strength = round(strength, 3)
    alone = refined_pictures(pairs, plain, strength)
    found, without = (distances(made, pairs.truth, pairs.boxes, perceptual) for made in (pictures, alone))
    harmless = lips_moved(pairs, pictures) <= LIPS_MAY_MOVE and ratios(found, without) is not None

    def scores(made: Tensor) -> dict[str, float]:
        return scores_of(pairs, made, depth, perceptual, identity)

    raw, refined = scores(pairs.renders), scores(pictures)
    film = film_flicker(pairs, depth)
    return Judged(strength, harmless, raw, refined, film, pictures, Alone(scores(alone), alone))
