"""One denoising step: latents are noised to a timestep each, and the network says what they were.

x_t = sqrt(a) x_0 + sqrt(1 - a) noise, and from the predicted noise e: x_0 = (x_t - sqrt(1 - a) e) / sqrt(a), a the
share of the signal at t. With a model trained for it (SD-turbo) that is the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from being.refine.streamdiffusion.autoencoder import Autoencoder
from being.refine.streamdiffusion.low_rank import AttentionChange


@dataclass(frozen=True, eq=False)
class RowInputs:
    """What the denoising network is given of N rows beside their latents.

    depth : a ControlNet's picture of depth (N, 3, S, S). changes : see `Denoiser`.
    """

    depth: Tensor | None = None
    changes: Sequence[AttentionChange] = ()


PLAIN = RowInputs()
Predict = Callable[[Tensor, Tensor, RowInputs], Tensor]
"""Noise in latents (N, h, w, 4) at rows `places` (N,) of a table of timesteps."""


class OneStep:
    """Crops to refined crops, each row at its own timestep.

    Parameters
    ----------
    predict : see `Denoiser`.
    shares : (T,) share of the signal at each timestep of the table.
    velocity : the network predicts v = sqrt(a) noise - sqrt(1 - a) x_0 (SD 2.1 at 768) instead of the noise.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        predict: Predict,
        shares: npt.NDArray[np.float64],
        device: torch.device,
        velocity: bool = False,
    ) -> None:
        self.autoencoder = autoencoder
        self.predict = predict
        self.velocity = velocity
        self.signal = torch.tensor(np.sqrt(shares), dtype=torch.float32, device=device)
        self.spread = torch.tensor(np.sqrt(1 - shares), dtype=torch.float32, device=device)

    def __call__(self, crops: Tensor, noise: Tensor, places: Tensor, inputs: RowInputs = PLAIN) -> Tensor:
        """(N, 3, S, S) in [0, 1], noise (N, S / 8, S / 8, 4), (N,) rows of the table -> (N, 3, S, S) near [0, 1]."""
        return self.autoencoder.decode(self.denoised(self.autoencoder.encode(crops), noise, places, inputs))

    def denoised(self, latents: Tensor, noise: Tensor, places: Tensor, inputs: RowInputs = PLAIN) -> Tensor:
        """Latents (N, h, w, 4) as the network has them, in float32 between the two products."""
        signal, spread = (table[places][:, None, None, None] for table in (self.signal, self.spread))
        noisy = signal * latents.float() + spread * noise.float()
        predicted = self.predict(noisy.to(latents.dtype), places, inputs).float()
        if self.velocity:
            return (signal * noisy - spread * predicted).to(latents.dtype)
        return ((noisy - spread * predicted) / signal).to(latents.dtype)
