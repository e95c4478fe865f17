"""A ControlNet for depth (Zhang et al. 2023) on the rendered depth: geometry is told to the network, not guessed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NEARER, FARTHER = 1.5, 2.5  # decimetres before and behind the face that the picture of depth spans


def depth_picture(depth: Tensor, distances: Tensor) -> Tensor:
    """Rendered depth (N, 1, S, S) as ControlNets are trained on it, (N, 3, S, S) in [0, 1]: nearer is lighter.

    Inverse depth between two fixed distances around the face (`distances`, (N,) decimetres), so that no frame's picture
    depends on what else is in it. Where nothing is, black.
    """
    near, far = (1 / (distances + step).clamp_min(0.5)[:, None, None, None] for step in (-NEARER, FARTHER))
    inverse = torch.where(depth > 0, 1 / depth.clamp_min(1e-3), far)
    return ((inverse - far) / (near - far)).clamp(0, 1).expand(-1, 3, -1, -1)


class DepthControl:
    """What a ControlNet adds to the denoising network.

    Parameters
    ----------
    controlnet : diffusers' ControlNetModel. prompt : (T, D). timesteps : the table that `places` point into.
    """

    def __init__(self, controlnet: Any, prompt: Tensor, timesteps: Tensor, scale: float) -> None:
        self._controlnet, self._prompt, self._timesteps, self._scale = controlnet, prompt, timesteps, scale

    def __call__(self, latents: Tensor, places: Tensor, picture: Tensor) -> list[Tensor]:
        """Noised latents (N, h, w, 4), rows of the table (N,), (N, 3, S, S) -> see `Denoiser`."""
        planes = latents.permute(0, 3, 1, 2)
        prompt = self._prompt[None].expand(len(latents), -1, -1)
        skips, middle = self._controlnet(
            planes,
            self._timesteps[places],
            encoder_hidden_states=prompt,
            controlnet_cond=picture.to(latents.dtype),
            conditioning_scale=self._scale,
            return_dict=False,
        )
        return [part.permute(0, 2, 3, 1).contiguous() for part in (*skips, middle)]
