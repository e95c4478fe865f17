"""LoRAs of random numbers, put into avatars."""

from __future__ import annotations

from pathlib import Path

import torch

from being.avatar.folder import amend_avatar
from being.refine.streamdiffusion.avatar_lora import FILE, AvatarLora, LoraBase, LoraFacts, save_avatar_lora
from being.refine.streamdiffusion.denoiser import Denoiser
from being.refine.streamdiffusion.lora_layout import LoraLayout

RANK = 4


def random_factors(
    denoiser: Denoiser, seed: int, rank: int = RANK, size: float = 0.3
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A and B of every layer that may change."""
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: (
            torch.randn(rank, inside, generator=generator) * size,
            torch.randn(outside, rank, generator=generator) * size,
        )
        for layer, (inside, outside) in LoraLayout(denoiser, rank).layers.items()
    }


def give_lora(
    folder: Path, factors: dict[str, tuple[torch.Tensor, torch.Tensor]], base: LoraBase, strength: float = 1.0
) -> Path:
    """Store it in the avatar; where it lies there."""
    facts = LoraFacts(rank=max(len(down) for down, _ in factors.values()), strength=strength, base=base)
    path = folder.parent / f".{folder.name}.lora"
    save_avatar_lora(path, AvatarLora(facts, factors))
    amend_avatar(folder, extra={FILE: path})
    path.unlink()
    return folder / FILE
