"""The gain of an avatar's detail, measured on frames of its footage that are refined as if they had not been filmed."""

from __future__ import annotations

import torch
from torch import Tensor

from being.refine.native.gain import added, kernel_of
from being.refine.native.network import RefineNetwork
from being.training.loss.radial_spectrum import luma, rings_of, smoothed
from being.training.refiner.measures import nearness
from being.training.refiner.pairs import Pairs
from being.training.refiner.references import GAP, Chosen, candidates, pictures, view_of

FRAMES = 24  # that it is measured on
RINGS = 32  # frequencies
SIDE = 11  # pixels, of the kernel
AT_ONCE = 8  # frames
MAY_COST = 0.15  # dB
SHARES = tuple(part / 10 for part in range(10, 0, -1))  # of the gain


@torch.no_grad()
def with_gain(network: RefineNetwork, pairs: Pairs, chosen: Chosen | None) -> RefineNetwork:
    """The same network with the gain that gives faces of the avatar that is refined the film's power spectrum, or as
    much of it as costs no more than `MAY_COST`: detail in the wrong place is further from the film the stronger it is.

    References filmed within `GAP` frames of a frame (fewer in short footage) are not shown to it. As it is where the
    avatar was trained on none of the pairs.
    """
    among = candidates(pairs)
    if not len(among):
        return network
    rows = among[torch.linspace(0, len(among) - 1, min(len(among), FRAMES)).round().long()]
    gap = min(GAP, len(among) // 8)
    refined = torch.cat([_refined(network, pairs, chosen, some, gap) for some in rows.split(AT_ONCE)])
    kernel = kernel_of(10 ** (0.5 * smoothed(_lacking(refined, pairs, rows))), SIDE)
    share = _affordable(refined, kernel.to(refined.device), pairs, rows)
    found = RefineNetwork(network.config.model_copy(update={"gain": SIDE}))
    found.load_state_dict(network.state_dict() | {"gain": share * kernel})
    return found.to(pairs.renders.device)


def _refined(network: RefineNetwork, pairs: Pairs, chosen: Chosen | None, rows: Tensor, gap: int) -> Tensor:
    """Pictures (len(rows), 3, S, S) in [0, 1]."""
    render = pictures(pairs.renders, rows)
    entering = [render, pairs.alpha[rows.to(render.device)][:, None].float() / 255]
    if chosen is not None:
        excluded = chosen.too_near(pairs.frames[rows], gap).to(render.device)
        entering.append(chosen.references(render, view_of(pairs, rows), None, excluded))
    return (render + network.to(render.device)(torch.cat(entering, 1))).clamp(0, 1)


def _lacking(refined: Tensor, pairs: Pairs, rows: Tensor) -> Tensor:
    """(RINGS,): how far the log power (base 10) of refined faces is below the film's, by frequency."""
    filmed = luma(pairs.truth[rows.to(refined.device)])
    made = luma((255 * refined).permute(0, 2, 3, 1))
    out = []
    for row, box in enumerate(pairs.boxes[rows].round().int().tolist()):
        film, own = (rings_of(part[row, box[1] : box[3], box[0] : box[2]], RINGS) for part in (filmed, made))
        out.append(film - own)
    return torch.stack(out).mean(0).cpu()


def _affordable(refined: Tensor, kernel: Tensor, pairs: Pairs, rows: Tensor) -> float:
    """The largest share of the kernel that costs no more PSNR than `MAY_COST`."""
    truth, boxes = pairs.truth[rows.to(refined.device)], pairs.boxes[rows]
    change = added(refined, kernel) * (pairs.alpha[rows.to(refined.device)][:, None].float() / 255)

    def near(share: float) -> float:
        made = (255 * (refined + share * change).clamp(0, 1)).permute(0, 2, 3, 1)
        return float(nearness(made, truth, boxes)["psnr"].mean())

    least = near(0) - MAY_COST
    return next((share for share in SHARES if near(share) >= least), 0.0)
