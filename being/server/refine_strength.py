"""The strength of the refiner that a client gets."""

from __future__ import annotations

from being.live.requests import AvatarFacts
from being.server.problems import Problem


def strength_for(avatar: AvatarFacts, asked: float | None) -> float:
    """What is asked for, else the server's own; 0 where the avatar cannot be refined.

    Raises
    ------
    Problem
        422: a strength is asked for that there is no refiner for.
    """
    if asked is None:
        return avatar.refine or 0.0
    if asked and avatar.refine is None:
        raise Problem(
            422,
            f"avatar {avatar.id!r} cannot be refined by this server",
            "Leave refine out, or start the server with a refiner: docs/refining.md",
        )
    return asked
