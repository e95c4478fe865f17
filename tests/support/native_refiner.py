"""A small trained-looking refiner for tests: random weights, quick on a CPU."""

from __future__ import annotations

from pathlib import Path

import torch

from being.avatar.folder import Avatar, amend_avatar
from being.refine.native.network import RefineConfig, RefineNetwork
from being.refine.native.weights import FILE, RefinerFacts, TrainedRefiner, save_refiner

SMALL = RefineConfig(width=8, depths=(1, 1, 1))

GUIDED = SMALL.model_copy(update={"references": 8, "texels": 64})

ALONE = GUIDED.model_copy(update={"width": 0})

GAINED = ALONE.model_copy(update={"gain": 5})


def trained(seed: int = 0, strength: float = 1.0, config: RefineConfig = SMALL) -> TrainedRefiner:
    """Random weights that change a picture visibly; references, if any, of random differences on a plane."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = RefineNetwork(config)
        if config.width:
            torch.nn.init.normal_(network.leave.weight, std=0.3)
        if network.gain is not None:
            network.gain.normal_(std=0.05)
        if (references := network.references) is not None:
            references.differences.random_(78, 178)
            references.thumbs.uniform_(0, 255)
            references.points.uniform_(-0.5, 0.5)
            references.covered.fill_(1)
            references.pose[2, 3] = 8
            references.camera.copy_(torch.tensor([400.0, 400, 32, 32]))
            references.solve()
    return TrainedRefiner(RefinerFacts(network=config, strength=strength, sides=(32,)), network.state_dict())


def give_refiner(avatar: Avatar, scratch: Path, refiner: TrainedRefiner) -> None:
    """Put a refiner into the stored avatar's folder."""
    assert avatar.folder is not None
    save_refiner(scratch / FILE, refiner)
    amend_avatar(avatar.folder, extra={FILE: scratch / FILE})
