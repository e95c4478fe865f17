"""Motion players of avatars, shared by their sessions: making one takes half a second."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import fields

import numpy as np

from being.avatar.motion import Motion
from being.inference.motion import MotionPlayer
from being.live.requests import AvatarFacts

SEEDS = 4  # ways an avatar moves, so that not all its clients see the same
KEPT = 64


class MotionPlayers:
    """The players made last. Safe to call from worker threads: at worst one is made twice."""

    def __init__(self, kept: int = KEPT, seeds: int = SEEDS) -> None:
        self._kept = kept
        self._seeds = seeds
        self._players: OrderedDict[tuple[str, int], tuple[Motion, MotionPlayer]] = OrderedDict()

    def lot(self) -> int:
        """A seed for a new session."""
        return secrets.randbelow(self._seeds)

    def of(self, avatar: AvatarFacts, seed: int) -> MotionPlayer:
        """The avatar's of a seed; made where it is missing or the avatar has changed."""
        key = avatar.id, seed
        known = self._players.get(key)
        if known is not None and _same_motion(known[0], avatar.motion):
            return known[1]
        player = MotionPlayer(avatar.motion, key[1])
        self._players[key] = avatar.motion, player
        while len(self._players) > self._kept:
            self._players.popitem(last=False)
        return player


def _same_motion(one: Motion, other: Motion) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
