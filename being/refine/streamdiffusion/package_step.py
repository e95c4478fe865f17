"""The same step through the StreamDiffusion package, where all rows ask for one timestep.

Its 0.1.1 asks for diffusers 0.24 but runs beside newer ones when installed by itself. What it would carry from frame to
frame stays off: guidance from earlier noise (`cfg_type="none"`), the filter of similar pictures, its own noise, and
`__call__`, which waits for the GPU; its networks are ours, so that it costs what the direct step costs.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from being.errors import MissingDependencyError
from being.refine.streamdiffusion.autoencoder import Autoencoder
from being.refine.streamdiffusion.one_step import PLAIN, Predict, RowInputs
from being.refine.streamdiffusion.schedule import STEPS

INSTALL = "pip install --no-deps streamdiffusion==0.1.1"


def installed() -> bool:
    """Whether the package is there and can be used beside this diffusers."""
    try:
        import streamdiffusion  # noqa: F401
    except ImportError:
        return False
    return True


def require_installed() -> None:
    """MissingDependencyError where the package is not there."""
    if not installed():
        remedy = f"Install it by itself, it pins an old diffusers: {INSTALL}; or set through: direct"
        raise MissingDependencyError("streamdiffusion", None, "A refiner through: package", remedy)


class PackageStep:
    """One StreamDiffusion object: rows of one timestep, count and size; called as `OneStep` is.

    Raises
    ------
    MissingDependencyError
        See `require_installed`.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        predict: Predict,
        scheduler: dict[str, Any],
        timestep: int,
        count: int,
        size: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        require_installed()
        from diffusers import LCMScheduler
        from streamdiffusion import StreamDiffusion

        self._autoencoder, self._predict = autoencoder, predict
        self._places = torch.zeros(0, dtype=torch.long, device=device)
        self._inputs = PLAIN
        own = {"original_inference_steps": STEPS, "num_train_timesteps": STEPS}
        pipe = SimpleNamespace(
            device=device,
            vae_scale_factor=8,
            scheduler=LCMScheduler.from_config({**scheduler, **own}),
            text_encoder=None,
            unet=self._unet,
            vae=SimpleNamespace(
                dtype=dtype,
                encode=lambda x: SimpleNamespace(latents=autoencoder.encode(x).permute(0, 3, 1, 2)),
                decode=lambda z, return_dict: (autoencoder.decode(z.permute(0, 2, 3, 1)),),
                config=SimpleNamespace(scaling_factor=1.0),  # `Autoencoder` scales
            ),
            encode_prompt=lambda **_: (torch.zeros(1, 1, 1, device=device, dtype=dtype), None),  # it is in the network
        )
        self._stream: Any = StreamDiffusion(
            pipe,
            [STEPS - 1 - timestep],
            torch_dtype=dtype,
            width=size,
            height=size,
            frame_buffer_size=count,
            cfg_type="none",
        )
        self._stream.prepare("", num_inference_steps=STEPS, guidance_scale=1.0)
        assert [int(t) for t in self._stream.sub_timesteps] == [timestep]

    def __call__(self, crops: Tensor, noise: Tensor, places: Tensor, inputs: RowInputs = PLAIN) -> Tensor:
        """As `OneStep`; `places` must all be this object's timestep's."""
        stream = self._stream
        self._places, self._inputs = places, inputs
        planes = noise.permute(0, 3, 1, 2).to(stream.dtype)
        stream.init_noise = planes[None]  # `encode_image` adds the first of them to the whole batch
        out: Tensor = stream.decode_image(stream.predict_x0_batch(stream.encode_image(crops)))
        self._inputs = PLAIN  # a recorded graph's memory is free for the next recording
        return out

    def _unet(self, latents: Tensor, _: Any, encoder_hidden_states: Tensor, return_dict: bool) -> tuple[Tensor]:
        predicted = self._predict(latents.permute(0, 2, 3, 1).contiguous(), self._places, self._inputs)
        return (predicted.permute(0, 3, 1, 2),)
