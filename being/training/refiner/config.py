"""What the training of a refiner can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from being.refine.native.network import RefineConfig

Weight = Annotated[float, Field(ge=0)]


class RefineWeights(BaseModel):
    """How much each part of the loss counts; 0 leaves it out. See `being.training.refiner.losses`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    l1: Weight = 1.0
    ssim: Weight = 0.1
    bands: Weight = 1.0
    # Trained for seconds of footage, a discriminator drew dark lines over the synthetic person's lids and brows.
    adversarial: Weight = 0.0
    features: Weight = 0.0
    perceptual: Weight = 0.0
    steady: Weight = 0.5
    lock: Weight = 0.0


WITH_VGG = RefineWeights(bands=0.5, perceptual=0.1)


class RefinerTraining(BaseModel):
    """What any training of a refiner can be told.

    vgg, identity : weights of the user's own, see `Perceptual` and `FaceEmbedding`; the latter is for the report alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: RefineWeights | None = None
    vgg: Path | None = None
    identity: Path | None = None
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0

    @property
    def weights(self) -> RefineWeights:
        """Of the loss: as said, else by whether there are VGG weights."""
        return self.loss or (RefineWeights() if self.vgg is None else WITH_VGG)


class RefinerConfig(RefinerTraining):
    """One training of a refiner: its fields are the options of `being fit-refiner`.

    references : frames of the footage that are laid onto others, see `being.refine.native.references`; None for as many
    as the footage allows, 0 for none. minutes : of training a network on top of them; 0 for references alone; the rest
    is for the network. folds : avatars trained without a part of the footage each, whose renders of that part are
    learned from; fold_minutes : of each. seen : share of the crops that are renders of frames the avatar was trained
    on, as its hair, skin and background look live. steps : in place of minutes. size : side of training crops.
    """

    network: RefineConfig = RefineConfig()
    minutes: float = Field(default=0.0, ge=0)
    steps: int | None = Field(default=None, ge=1)
    folds: int = Field(default=2, ge=2, le=8)
    fold_minutes: float = Field(default=2.0, gt=0)
    references: int | None = Field(default=None, ge=0, le=256)
    seen: float = Field(default=0.5, ge=0, le=1)
    batch: int = Field(default=8, ge=2, multiple_of=2)
    size: int = Field(default=128, ge=32, multiple_of=8)
    rate: float = Field(default=3e-4, gt=0, lt=1)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.references == 0 and not self.learned:
            raise ValueError("a refiner without references needs minutes (or steps) of training")
        return self

    @property
    def learned(self) -> bool:
        """Whether a network is trained."""
        return self.minutes > 0 or self.steps is not None
