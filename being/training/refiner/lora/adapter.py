"""A LoRA that is trained: the factors as parameters, run row by row through the very network that refines live."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from being.inference.frames import Extras
from being.refine.streamdiffusion.loading import Weights
from being.refine.streamdiffusion.lora_layout import Factors, LoraLayout
from being.refine.streamdiffusion.network import Network
from being.refine.streamdiffusion.noise import NoiseTextures
from being.refine.streamdiffusion.settings import StreamDiffusionSettings
from being.refine.streamdiffusion.told import PLACE


class Adapter(nn.Module):
    """Factors A and B of every projection that may change; B is zero at first, so that nothing changes (Hu et al.).

    Parameters
    ----------
    weights : the model, frozen; the UNet may be in half precision, the autoencoder decodes as precisely as it is.
    noise_seed : of the avatar. seed : of the factors.

    Attributes
    ----------
    layers : names in the UNet, in the order of `down`, A (r, in), and `up`, B (out, r).
    needs : what the network reads of a frame beside its colours.
    """

    def __init__(self, weights: Weights, settings: StreamDiffusionSettings, noise_seed: int, seed: int) -> None:
        super().__init__()
        device = weights.prompt.device
        textures = NoiseTextures(device, 1)
        textures.slots([noise_seed])
        self.network = Network(
            weights,
            weights.unet,
            settings.timesteps,
            textures.bank,
            settings.control_scale,
            differentiable=True,
        )
        self.needs = Extras.DEPTH if weights.controlnet is not None else Extras.NONE
        self.layout = LoraLayout(self.network.denoiser, settings.lora_rank)
        self.layers = tuple(self.layout.layers)
        random = torch.Generator().manual_seed(seed)
        down, up = [], []
        for inside, outside in self.layout.layers.values():
            reach = 1 / math.sqrt(inside)
            down.append((2 * torch.rand(settings.lora_rank, inside, generator=random) - 1) * reach)
            up.append(torch.zeros(outside, settings.lora_rank))
        self.down = nn.ParameterList([nn.Parameter(part.to(device)) for part in down])
        self.up = nn.ParameterList([nn.Parameter(part.to(device)) for part in up])

    def factors(self) -> Factors:
        """By layer; the parameters themselves."""
        return dict(zip(self.layers, zip(self.down, self.up, strict=True), strict=True))

    def take(self, factors: Factors) -> None:
        """Be these from now on."""
        with torch.no_grad():
            for layer, down, up in zip(self.layers, self.down, self.up, strict=True):
                down.copy_(factors[layer][0])
                up.copy_(factors[layer][1])

    @torch.no_grad()
    def encode(self, crops: Tensor) -> Tensor:
        """Crops (N, 3, S, S) in [0, 1] -> latents (N, S / 8, S / 8, 4)."""
        return self.network.autoencoder.encode(crops)

    def forward(
        self, crops: Tensor, told: Tensor, depth: Tensor | None = None, adapted: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Refined crops (N, 3, S, S) near [0, 1] and their latents (N, S / 8, S / 8, 4), both float32.

        told, depth : see `Network.refine`. adapted : with the LoRA; else the model alone.
        """
        changes = []
        if adapted:
            numbers = self.layout.pack(self.factors()).to(self.network.dtype)
            changes = self.layout.changes(numbers.expand(len(crops), -1))
        inputs = self.network.inputs(told, depth if self.needs else None, changes)
        noise = self.network.noise(told, crops.shape[-1])
        latents = self.network.direct.denoised(self.encode(crops), noise, told[:, PLACE].long(), inputs)
        return self.network.autoencoder.decode(latents).float(), latents.float()
