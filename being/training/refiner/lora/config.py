"""What the training of a LoRA can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from being.refine.streamdiffusion.settings import StreamDiffusionSettings
from being.training.refiner.config import WITH_VGG, RefineWeights, Weight


class LoraConfig(BaseModel):
    """One training of a LoRA: its fields are what `being fit-refiner --refiner streamdiffusion` can be told.

    refiner : what is refined with live: the same model, sizes, timesteps and prompt; `lora_rank` of it is the rank.
    minutes : of training; steps : in place of them. batch : crops a step, in pairs of neighbouring frames. rate : of
    AdamW. loss : of the decoded picture, see `being.training.refiner.losses`; no discriminator is trained. latent :
    what the mean squared difference of latents counts. vgg, identity : see `RefinerConfig`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    refiner: StreamDiffusionSettings = StreamDiffusionSettings()
    minutes: float = Field(default=4.0, gt=0)
    steps: int | None = Field(default=None, ge=1)
    batch: int = Field(default=4, ge=2, multiple_of=2)
    rate: float = Field(default=2e-4, gt=0, lt=1)
    loss: RefineWeights | None = None
    latent: Weight = 0.1
    vgg: Path | None = None
    identity: Path | None = None
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0

    @model_validator(mode="after")
    def _no_discriminator(self) -> Self:
        if self.loss is not None and (self.loss.adversarial or self.loss.features):
            raise ValueError("no discriminator is trained beside a LoRA: leave adversarial and features at 0")
        return self

    @property
    def weights(self) -> RefineWeights:
        """Of the loss: as said, else by whether there are VGG weights."""
        return self.loss or (RefineWeights() if self.vgg is None else WITH_VGG)
