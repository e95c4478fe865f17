"""A trained refiner on frames that nothing was trained on: scores, the strength that leaves the lips alone, and whether
it, and its network, are worth having."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from being.refine.native.network import RefineConfig
from being.training.loss.perceptual import Perceptual
from being.training.refiner.applied import NetworkInMemory, refined_pictures
from being.training.refiner.guard import BETTER, distances, ratios
from being.training.refiner.identity import Identity
from being.training.refiner.loop import Trained
from being.training.refiner.measures import feature_distance, flicker, nearness, shifts, spectrum_distance
from being.training.refiner.pairs import Pairs

LIPS_MAY_MOVE = 0.5  # pixels, mean over the mouth
MAY_FLICKER = 1.1  # times what the film does, or the render where that is more
LESS = 0.85  # factor on the strength until they do not
LEAST = 0.2  # strength below which a refiner is not worth its time


@dataclass(frozen=True, eq=False)
class Alone:
    """Scores and pictures (N, S, S, 3) uint8 of a diffusion model without the LoRA that is judged."""

    scores: dict[str, float]
    pictures: Tensor


@dataclass(frozen=True, eq=False)
class Judged:
    """Scores of the raw and the refined pictures by name, `flicker` of the film among them, and the pictures.

    strength : at which they were made. harmless : even so, lips stay and nothing is lost. pays : they are so
    much nearer to the film that it is worth its time. pictures : (N, S, S, 3) uint8 on the device. alone : where a LoRA
    was judged, what its model does without it.
    """

    strength: float
    harmless: bool
    raw: dict[str, float]
    refined: dict[str, float]
    film_flicker: float
    pictures: Tensor
    alone: Alone | None = None
    pays: bool = True

    @property
    def kept(self) -> bool:
        """Whether it is to be stored."""
        return self.harmless and self.pays

    def metrics(self) -> dict[str, float]:
        """Flat finite numbers for the file's header."""
        out = {f"raw_{name}": value for name, value in self.raw.items()}
        out |= {f"refined_{name}": value for name, value in self.refined.items()}
        out |= {f"alone_{name}": value for name, value in (self.alone.scores if self.alone else {}).items()}
        out["film_flicker"] = self.film_flicker
        return {name: round(value, 5) for name, value in out.items() if value == value}  # NaN is not equal to itself


@torch.no_grad()
def judge(
    pairs: Pairs,
    network: RefineConfig,
    state: Mapping[str, Tensor],
    depth: float,
    perceptual: Perceptual | None = None,
    identity: Identity | None = None,
) -> Judged:
    """Scores at the greatest strength that leaves the lips where they are, flickers no more than the film does, and is
    no further from the film by any distance.

    pairs : held-out frames. depth : of the face in head space, dm. identity : of these frames' faces.
    """
    refiner = NetworkInMemory(network, state, pairs.renders.device, pairs.camera)
    strength, pictures = 1.0, refined_pictures(pairs, refiner, 1.0)
    rendered = distances(pairs.renders, pairs.truth, pairs.boxes, perceptual)
    film = film_flicker(pairs, depth)
    flickers = MAY_FLICKER * max(film, _flicker(pairs.renders, pairs, depth))

    def nearer(made: Tensor) -> float | None:
        """Mean ratio of its distances to the film to the render's; None for harm."""
        if lips_moved(pairs, made) > LIPS_MAY_MOVE or _flicker(made, pairs, depth) > flickers:
            return None
        found = ratios(distances(made, pairs.truth, pairs.boxes, perceptual), rendered)
        return None if found is None else sum(found.values()) / len(found)

    while (found := nearer(pictures)) is None and strength > LEAST:
        strength *= LESS
        pictures = refined_pictures(pairs, refiner, strength)
    raw, refined = (scores_of(pairs, made, depth, perceptual, identity) for made in (pairs.renders, pictures))
    pays = found is not None and found < BETTER
    return Judged(round(strength, 3), found is not None, raw, refined, film, pictures, pays=pays)


def scores_of(
    pairs: Pairs, made: Tensor, depth: float, perceptual: Perceptual | None, identity: Identity | None
) -> dict[str, float]:
    """Means over pictures (N, S, S, 3) uint8 made of `pairs`, by name; the other parameters as `judge`."""
    found = nearness(made, pairs.truth, pairs.boxes)
    found |= {"spectrum": spectrum_distance(made, pairs.truth, pairs.boxes)}
    found |= {"lip_shift_px": shifts(pairs.renders, made, pairs.lips)}
    if perceptual is not None:
        found |= {"vgg": feature_distance(made, pairs.truth, pairs.boxes, perceptual)}
    if identity is not None:
        found |= {"identity": identity(made, pairs.truth)}
    means = {name: float(value.mean()) for name, value in found.items()}
    return means | {"flicker": _flicker(made, pairs, depth)}


def lips_moved(pairs: Pairs, made: Tensor) -> float:
    """How far the mouth has moved against the render, mean over the pictures, pixels."""
    return float(shifts(pairs.renders, made, pairs.lips).mean())


def film_flicker(pairs: Pairs, depth: float) -> float:
    """The film's own, see `flicker`."""
    return _flicker(pairs.truth, pairs, depth)


def judge_both(
    pairs: Pairs,
    trained: Trained,
    depth: float,
    perceptual: Perceptual | None = None,
    identity: Identity | None = None,
) -> tuple[Trained, Judged]:
    """What is to be stored, and how it was judged: a network on top of references only where it makes no distance of
    held-out frames to the film worse than these alone do."""
    judged = judge(pairs, trained.network, trained.state, depth, perceptual, identity)
    if trained.alone is None:
        return trained, judged
    alone = replace(trained.alone, history=trained.history, steps=trained.steps, guard=trained.guard)
    without = judge(pairs, alone.network, alone.state, depth, perceptual, identity)
    found, before = (distances(part.pictures, pairs.truth, pairs.boxes, perceptual) for part in (judged, without))
    if judged.harmless and judged.pays >= without.pays and ratios(found, before) is not None:
        return trained, judged
    return alone, without


def _flicker(made: Tensor, pairs: Pairs, depth: float) -> float:
    return flicker(made, pairs.frames, pairs.head_poses, pairs.camera, depth, pairs.boxes, pairs.lips)
