"""What the training of a LoRA can be told."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from being.refine.streamdiffusion.settings import StreamDiffusionSettings
from being.training.refiner.config import RefinerTraining, Weight


class LoraConfig(RefinerTraining):
    """One training of a LoRA: its fields are what `being fit-refiner --refiner streamdiffusion` can be told.

    refiner : what is refined with live: the same model, sizes, timesteps and prompt; `lora_rank` of it is the rank.
    minutes : of training; steps : in place of them. batch : crops a step, in pairs of neighbouring frames. rate : of
    AdamW. loss : of the decoded picture, see `being.training.refiner.losses`; no discriminator is trained. latent :
    what the mean squared difference of latents counts.
    """

    refiner: StreamDiffusionSettings = StreamDiffusionSettings()
    minutes: float = Field(default=4.0, gt=0)
    steps: int | None = Field(default=None, ge=1)
    batch: int = Field(default=4, ge=2, multiple_of=2)
    rate: float = Field(default=2e-4, gt=0, lt=1)
    latent: Weight = 0.1

    @model_validator(mode="after")
    def _no_discriminator(self) -> Self:
        if self.loss is not None and (self.loss.adversarial or self.loss.features):
            raise ValueError("no discriminator is trained beside a LoRA: leave adversarial and features at 0")
        return self
