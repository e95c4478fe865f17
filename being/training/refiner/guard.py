"""Whether a trained network is better than its references alone, on frames of the folds that it was not trained on.

Nothing that is measured may be worse: one distance that falls much, as that of the spectrum easily does, is not set off
against others that rise. Of the folds' avatars a network may mend what the avatar that is refined does right, so that
`being.training.refiner.judging` asks the same of frames that this one draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from being.refine.native.network import RefineConfig, RefineNetwork
from being.training.loss.perceptual import Perceptual
from being.training.refiner.folds import BLOCK
from being.training.refiner.measures import feature_distance, gradient_deviation, nearness, spectrum_distance
from being.training.refiner.pairs import Pairs, unpacked

EVERY = 4  # of the blocks of a fold one is kept apart
SHARES = (1.0, 0.5, 0.25)  # of what the network adds
BETTER = 0.98  # scores that are below are worth the network's time
MAY_LOSE = 0.05  # dB
MAY_GROW = 1.01  # of any distance to the film: what no eye sees
NO_DISTANCE = 1e-3  # below it the distances of two pictures are noise, and their ratio is too
AT_ONCE = 8


def apart(pairs: Pairs) -> Tensor:
    """(N,) bool, the pairs that are kept apart: every fourth block of frames that the avatar of a fold had not seen."""
    unseen = torch.nonzero(~pairs.seen).flatten()
    out = torch.zeros(len(pairs), dtype=torch.bool)
    for avatar in pairs.avatars[unseen].unique().tolist():
        rows = unseen[pairs.avatars[unseen] == avatar]
        block = min(BLOCK, max(1, len(rows) // EVERY))
        place = torch.arange(len(rows)) // block
        out[rows[place % EVERY == EVERY - 1]] = True
    return out


def ratios(found: Mapping[str, float], without: Mapping[str, float]) -> dict[str, float] | None:
    """Distances to the film over those without the network, by name; None where one has grown or PSNR is lost.

    Both have psnr, dB, and distances.
    """
    if found["psnr"] < without["psnr"] - MAY_LOSE:
        return None
    out = {
        name: max(value, NO_DISTANCE) / max(without[name], NO_DISTANCE)
        for name, value in found.items()
        if name != "psnr"
    }
    return out if max(out.values()) <= MAY_GROW else None


def distances(made: Tensor, truth: Tensor, boxes: Tensor, perceptual: Perceptual | None) -> dict[str, float]:
    """psnr, dB, and distances of pictures (N, S, S, 3) uint8 to the film inside boxes (N, 4), means."""
    near = nearness(made, truth, boxes)
    found = {
        "psnr": near["psnr"],
        "unlike": 1 - near["ssim"],
        "gradients": gradient_deviation(made, truth, boxes),
        "spectrum": spectrum_distance(made, truth, boxes),
    }
    if perceptual is not None:
        found["vgg"] = feature_distance(made, truth, boxes, perceptual)
    return {name: float(value.mean()) for name, value in found.items()}


class Guard:
    """Scores networks on the pairs kept apart; 1 is what the references alone do (the render, where there are none).

    Parameters
    ----------
    guides : (N, S, S, 4) uint8 of the pairs, where there are references.
    """

    def __init__(self, pairs: Pairs, guides: Tensor | None, perceptual: Perceptual | None) -> None:
        rows = torch.nonzero(apart(pairs)).flatten()
        self.pairs, self.rows, self.perceptual = pairs, rows, perceptual
        self.guides = None if guides is None else guides[rows.to(guides.device)]
        shown = self._pixels(None if self.guides is None else unpacked(self.guides)[:, :3])
        self._without = self._measured(shown) if len(rows) else {}

    def best(
        self, config: RefineConfig, states: Sequence[Mapping[str, Tensor]]
    ) -> tuple[Mapping[str, Tensor] | None, dict[str, float]]:
        """The best of several states of one network, with `leave` weakened where that is better; None where nothing is
        better than no network. And the scores by state and share."""
        scores: dict[str, float] = {}
        found: tuple[float, Mapping[str, Tensor] | None] = (BETTER, None)
        for number, state in enumerate(states):
            for share in SHARES if len(self.rows) else ():
                weak = {name: share * value if name.startswith("leave.") else value for name, value in state.items()}
                score = self.score(config, weak)
                scores[f"{number + 1}/{len(states)} x {share:g}"] = round(score, 4)
                if score < found[0]:
                    found = score, weak
        return found[1], scores

    @torch.no_grad()
    def score(self, config: RefineConfig, state: Mapping[str, Tensor]) -> float:
        """Mean ratio of the distances to the film to those without the network; infinite where any is worse."""
        network = RefineNetwork(config)
        network.load_state_dict(dict(state))
        network.to(self.pairs.renders.device).eval()
        parts = []
        for at in torch.arange(len(self.rows)).split(AT_ONCE):
            rows = self.rows[at].to(self.pairs.renders.device)
            render = self.pairs.renders[rows].permute(0, 3, 1, 2).float() / 255
            entering = [render, self.pairs.alpha[rows][:, None].float() / 255]
            if self.guides is not None:
                entering.append(unpacked(self.guides[at.to(self.guides.device)]))
            parts.append(network(torch.cat(entering, 1)))
        found = ratios(self._measured(self._pixels(torch.cat(parts))), self._without)
        return float("inf") if found is None else sum(found.values()) / len(found)

    def _pixels(self, change: Tensor | None) -> Tensor:
        """The renders kept apart, changed: (K, S, S, 3) uint8."""
        renders = self.pairs.renders[self.rows.to(self.pairs.renders.device)]
        if change is None:
            return renders
        return (renders.float() + 255 * change.permute(0, 2, 3, 1)).clamp(0, 255).round().byte()

    def _measured(self, made: Tensor) -> dict[str, float]:
        truth, boxes = self.pairs.truth[self.rows.to(made.device)], self.pairs.boxes[self.rows]
        return distances(made, truth, boxes, self.perceptual)
