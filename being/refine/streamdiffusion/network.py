"""One person's diffusion network, or everybody's: crops and what is told of their rows in, refined crops out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from being.refine.streamdiffusion import twins
from being.refine.streamdiffusion.autoencoder import Autoencoder, convolution, convolve
from being.refine.streamdiffusion.control import DepthControl, depth_picture
from being.refine.streamdiffusion.denoiser import Denoiser
from being.refine.streamdiffusion.loading import Weights
from being.refine.streamdiffusion.low_rank import AttentionChange
from being.refine.streamdiffusion.one_step import OneStep, RowInputs
from being.refine.streamdiffusion.operations import Operations, operations
from being.refine.streamdiffusion.package_step import PackageStep
from being.refine.streamdiffusion.schedule import signal_shares
from being.refine.streamdiffusion.told import DISTANCE, MAP, PLACE, SLOT


class Network:
    """Autoencoder and denoising network for one prompt.

    Parameters
    ----------
    unet : diffusers' UNet2DConditionModel, that of `weights` or one changed for a person.
    timesteps : those that rows may ask for.
    bank : of `NoiseTextures`.
    differentiable : made of operations that gradients pass, as training needs them.
    """

    def __init__(
        self,
        weights: Weights,
        unet: Any,
        timesteps: Sequence[int],
        bank: Tensor,
        control_scale: float,
        differentiable: bool = False,
    ) -> None:
        self.device = weights.prompt.device
        self.dtype = weights.prompt.dtype
        self.bank = bank
        self.ops: Operations = twins if differentiable else operations(self.device)
        run = convolve if differentiable else convolution(self.device, self.dtype)
        self.autoencoder = Autoencoder(weights.autoencoder, self.ops, run)
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

    def refine(
        self,
        step: OneStep | PackageStep,
        crops: Tensor,
        told: Tensor,
        depth: Tensor | None = None,
        changes: Sequence[AttentionChange] = (),
    ) -> Tensor:
        """Crops (N, 3, S, S) float32 in [0, 1] -> (N, 3, S, S) float32, near [0, 1].

        Parameters
        ----------
        told : (N, 15) float32, see `columns_of`.
        depth : (N, 1, S, S) decimetres where there is a ControlNet.
        changes : of the rows' own, see `Denoiser`.
        """
        noise = self.noise(told, crops.shape[-1])
        return step(crops, noise, told[:, PLACE].long(), self.inputs(told, depth, changes)).float()

    def noise(self, told: Tensor, size: int) -> Tensor:
        """(N, size / 8, size / 8, 4) float32 that sticks to the rows' faces."""
        return self.ops.anchored_noise(self.bank, told[:, SLOT].long(), told[:, MAP], size)

    def inputs(self, told: Tensor, depth: Tensor | None, changes: Sequence[AttentionChange] = ()) -> RowInputs:
        """What the denoising network is given of rows; see `refine`."""
        picture = None
        if self.control is not None and depth is not None:
            picture = depth_picture(depth, told[:, DISTANCE]).to(self.dtype)
        return RowInputs(picture, changes)

    def _predict(self, latents: Tensor, places: Tensor, inputs: RowInputs) -> Tensor:
        latents = latents.to(self.dtype)  # an autoencoder may be more precise
        controls = []
        if self.control is not None and inputs.depth is not None:
            controls = self.control(latents, places, inputs.depth)
        return self.denoiser(latents, places, controls, inputs.changes)
