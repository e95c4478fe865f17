"""The gain is measured on the avatar's own frames, and gives soft renders the film's spectrum."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from support.turning_plane import COUNT, SIDE, turning_plane

from being.refine.native.network import RefineConfig, RefineNetwork
from being.training.refiner.measured_gain import with_gain
from being.training.refiner.measures import spectrum_distance
from being.training.refiner.pairs import Pairs


def soft() -> Pairs:
    """Renders are the film, blurred."""
    random = torch.Generator().manual_seed(2)
    film = 0.5 + 0.15 * torch.randn(COUNT, 3, SIDE, SIDE, generator=random)
    film = 0.7 * F.avg_pool2d(film, 3, stride=1, padding=1) + 0.3 * film
    blurred = 0.5 * film + 0.5 * F.avg_pool2d(film, 3, stride=1, padding=1)
    truth, renders = ((255 * part.clamp(0, 1)).byte().permute(0, 2, 3, 1) for part in (film, blurred))
    return replace(turning_plane(), renders=renders, truth=truth)


def test_soft_renders_get_the_films_spectrum() -> None:
    pairs = soft()
    network = with_gain(RefineNetwork(RefineConfig(width=0)), pairs, None)
    assert network.config.gain and network.gain is not None
    render = pairs.renders.permute(0, 3, 1, 2).float() / 255
    change = network(torch.cat([render, pairs.alpha[:, None].float() / 255], 1))
    made = (255 * (render + change).clamp(0, 1)).round().byte().permute(0, 2, 3, 1)
    before, after = (float(spectrum_distance(part, pairs.truth, pairs.boxes).mean()) for part in (pairs.renders, made))
    assert after < 0.4 * before


def test_detail_in_the_wrong_place_is_not_made_strong() -> None:
    pairs = soft()
    elsewhere = replace(pairs, renders=pairs.renders.flip(0))  # as soft, and of other frames
    kernels = [with_gain(RefineNetwork(RefineConfig(width=0)), part, None).gain for part in (pairs, elsewhere)]
    assert kernels[0] is not None and kernels[1] is not None
    assert float(kernels[1].norm()) < 0.6 * float(kernels[0].norm())


def test_without_frames_that_the_avatar_knows_there_is_none() -> None:
    network = RefineNetwork(RefineConfig(width=0))
    unknown = replace(soft(), seen=torch.zeros(COUNT, dtype=torch.bool))
    assert with_gain(network, unknown, None) is network
