"""One person's diffusion network, or everybody's: crops and what is told of their rows in, refined crops out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from being.refine.streamdiffusion.autoencoder import Autoencoder, convolution
from being.refine.streamdiffusion.control import DepthControl, depth_picture
from being.refine.streamdiffusion.denoiser import Denoiser
from being.refine.streamdiffusion.loading import Weights
from being.refine.streamdiffusion.one_step import OneStep
from being.refine.streamdiffusion.operations import Operations, operations
from being.refine.streamdiffusion.package_step import PackageStep
from being.refine.streamdiffusion.schedule import signal_shares

MAP, SLOT, PLACE, DISTANCE = slice(0, 10), 10, 11, 12  # columns of `told`
COLUMNS = 13


class Network:
    """Autoencoder and denoising network for one prompt.

    Parameters
    ----------
    unet : diffusers' UNet2DConditionModel, that of `weights` or one changed for a person.
    timesteps : those that rows may ask for.
    bank : of `NoiseTextures`.
    """

    def __init__(
        self,
        weights: Weights,
        unet: Any,
        timesteps: Sequence[int],
        bank: Tensor,
        control_scale: float,
    ) -> None:
        self.device = weights.prompt.device
        self.dtype = weights.prompt.dtype
        self.bank = bank
        self.ops = operations(self.device)
        self.autoencoder = Autoencoder(weights.autoencoder, self.ops, convolution(self.device, self.dtype))
        self.denoiser = Denoiser(unet, weights.prompt, timesteps, self.ops)
        self.control: DepthControl | None = None
        if weights.controlnet is not None:
            table = torch.tensor(list(timesteps), device=self.device)
            self.control = DepthControl(weights.controlnet, weights.prompt, table, control_scale)
        shares = signal_shares(weights.scheduler)[list(timesteps)]
        self.velocity = weights.scheduler.get("prediction_type") == "v_prediction"
        self.direct = OneStep(self.autoencoder, self._predict, shares, self.device, self.velocity)
        self._scheduler = dict(weights.scheduler)
        self._package: dict[tuple[int, int, int], PackageStep] = {}

    def use(self, ops: Operations) -> None:
        """Work by other small operations from now on; graphs that were recorded keep theirs."""
        self.ops = self.autoencoder.ops = self.denoiser.ops = ops

    def through_package(self, timestep: int, count: int, size: int) -> PackageStep:
        """StreamDiffusion's step for rows of one timestep; kept."""
        key = (timestep, count, size)
        if key not in self._package:
            self._package[key] = PackageStep(
                self.autoencoder, self._predict, self._scheduler, *key, self.device, self.dtype
            )
        return self._package[key]

    def refine(self, step: OneStep | PackageStep, crops: Tensor, told: Tensor, depth: Tensor | None = None) -> Tensor:
        """Crops (N, 3, S, S) float32 in [0, 1] -> (N, 3, S, S) float32, near [0, 1].

        Parameters
        ----------
        told : (N, 13) float32 by row: map of the noise (10, see `anchored_noise`), slot of its texture, place of its
            timestep in the table, distance of the face in decimetres.
        depth : (N, 1, S, S) decimetres where there is a ControlNet.
        """
        noise = self.ops.anchored_noise(self.bank, told[:, SLOT].long(), told[:, MAP], crops.shape[-1])
        picture = None
        if self.control is not None and depth is not None:
            picture = depth_picture(depth, told[:, DISTANCE]).to(self.dtype)
        return step(crops, noise, told[:, PLACE].long(), picture).float()

    def _predict(self, latents: Tensor, places: Tensor, depth: Tensor | None) -> Tensor:
        controls = [] if self.control is None or depth is None else self.control(latents, places, depth)
        return self.denoiser(latents, places, controls)
