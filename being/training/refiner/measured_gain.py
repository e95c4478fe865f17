"""The gain of an avatar's detail, measured on frames of its footage that are refined as if they had not been filmed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from being.refine.native.gain import kernel_of
from being.refine.native.network import RefineNetwork
from being.training.refiner.measures import luma, radial_spectrum
from being.training.refiner.pairs import Pairs
from being.training.refiner.references import GAP, Chosen, candidates, pictures, view_of

FRAMES = 24  # that it is measured on
RINGS = 32  # frequencies
SIDE = 11  # pixels, of the kernel
AT_ONCE = 8  # frames


@torch.no_grad()
def with_gain(network: RefineNetwork, pairs: Pairs, chosen: Chosen | None) -> RefineNetwork:
    """The same network with the gain that gives faces of the avatar that is refined the film's power spectrum.

    References filmed within `GAP` frames of a frame (fewer in short footage) are not shown to it. As it is where the
    avatar was trained on none of the pairs.
    """
    among = candidates(pairs)
    if not len(among):
        return network
    rows = among[torch.linspace(0, len(among) - 1, min(len(among), FRAMES)).round().long()]
    gap = min(GAP, len(among) // 8)
    short = torch.cat([_lacking(network, pairs, chosen, some, gap) for some in rows.split(AT_ONCE)])
    found = RefineNetwork(network.config.model_copy(update={"gain": SIDE}))
    kernel = kernel_of(10 ** (0.5 * _smooth(short.mean(0))), SIDE)
    found.load_state_dict(network.state_dict() | {"gain": kernel})
    return found.to(pairs.renders.device)


def _lacking(network: RefineNetwork, pairs: Pairs, chosen: Chosen | None, rows: Tensor, gap: int) -> Tensor:
    """(len(rows), RINGS): how far the log power (base 10) of refined faces is below the film's, by frequency."""
    render = pictures(pairs.renders, rows)
    entering = [render, pairs.alpha[rows.to(render.device)][:, None].float() / 255]
    if chosen is not None:
        excluded = chosen.too_near(pairs.frames[rows], gap).to(render.device)
        entering.append(chosen.references(render, view_of(pairs, rows), None, excluded))
    refined = (render + network.to(render.device)(torch.cat(entering, 1))).clamp(0, 1)
    filmed = luma(pairs.truth[rows.to(render.device)])
    made = luma((255 * refined).permute(0, 2, 3, 1))
    out = []
    for row, box in enumerate(pairs.boxes[rows].round().int().tolist()):
        parts = (radial_spectrum(part[row, box[1] : box[3], box[0] : box[2]]) for part in (filmed, made))
        film, own = (F.interpolate(part[None, None], size=RINGS, mode="linear")[0, 0] for part in parts)
        out.append(film - own)
    return torch.stack(out).cpu()


def _smooth(values: Tensor) -> Tensor:
    """Means of three neighbours."""
    return F.avg_pool1d(F.pad(values[None, None], (1, 1), mode="replicate"), 3, stride=1)[0, 0]
