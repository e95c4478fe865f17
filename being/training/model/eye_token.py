"""The eye's token when training starts: nothing while the eyes are open, and loud enough to be seen when they shut.

Gaussians attend to all tokens at once, and what they heard is normalised. A trained ear's tokens are some 15 long and
an untrained eye's differ by 1.5 between open and shut: beside that ear it moves nothing, whatever it is asked to, and
what moves nothing is not learned (after 400 steps on the lids' landmarks alone they shut by 1 % of the filmed way; by
all of it, within 100 steps, where the eye's token starts at 8).

The closure's code holds waves of up to five thousand radians (`being.model.attention.position_code`), in which every
closure has a code of its own that tells nothing of its neighbours, and cosines, which are loudest while nothing
happens and drown what tells Gaussians apart. Training leaves out both: their weights are zero and stay so. Open eyes
are then a token of zero, as a resting face is among the emotions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from being.model import DeformationNetwork
from being.model.attention import position_code
from being.model.network import EYE_CODE

WAVES = 3  # of the 16 sines: 1, 1.8 and 3.2 radians from open to shut
SWING = 8.0  # length of the token of shut eyes when training starts
DEAD = 4.0  # a trained eye's token that differs less from open to shut moves no lid


@torch.no_grad()
def start_eye_token(network: DeformationNetwork) -> None:
    """Set the eye's token of a new network up. One without is left alone."""
    if not hasattr(network, "eye_token"):
        return
    network.eye_token.into.weight.mul_(_kept(network))
    network.eye_token.out.weight.mul_(SWING / swing(network))


def keep_smooth(network: DeformationNetwork) -> None:
    """Whatever is learned from now on, a code's sines and cosines that are left out stay so."""
    if hasattr(network, "eye_token"):
        kept = _kept(network)
        if not (network.eye_token.into.weight * (1 - kept)).any():
            network.eye_token.into.weight.register_hook(lambda gradient: gradient * kept)


def is_dead(network: DeformationNetwork) -> bool:
    """Whether a trained network shuts no eye, as far as its token tells."""
    return hasattr(network, "eye_token") and swing(network) < DEAD


@torch.no_grad()
def swing(network: DeformationNetwork) -> float:
    """By how much the eye's token differs from open to shut."""
    ends = torch.tensor([[0.0], [1.0]], device=network.null_token.device)
    opened, shut = network.eye_token(position_code(ends, EYE_CODE))
    return float((shut - opened).norm())


def _kept(network: DeformationNetwork) -> Tensor:
    """(32,) 1 for what is used of a closure's code, in the order of `position_code`: sines and cosines by turns."""
    places = torch.arange(EYE_CODE, device=network.null_token.device)
    return ((places < 2 * WAVES) & (places % 2 == 0)).float()
