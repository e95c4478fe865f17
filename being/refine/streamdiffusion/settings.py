"""Settings of the refiner `streamdiffusion`: `refiner: {backend: streamdiffusion, options: {...}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from being.errors import InputError
from being.refine.streamdiffusion.noise import CELL
from being.refine.streamdiffusion.schedule import STEPS

RANDOM = "random"
PROMPT = "a photograph of a person, natural skin with pores, sharp eyes, single hairs, studio light"
COARSEST = 8 * CELL  # pixels: the network halves latents three times

Size = Annotated[int, Field(ge=COARSEST, le=1024, multiple_of=COARSEST)]


class Lora(BaseModel):
    """A low-rank change of the denoising network, added to its weights when it is loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(description="a safetensors file in diffusers', PEFT's or kohya's naming")
    scale: float = 1.0


class StreamDiffusionSettings(BaseModel):
    """One step of a diffusion model; its fields are the backend's options.

    Parameters
    ----------
    model, autoencoder : a folder in diffusers' layout, or a name on the Hugging Face hub. Safetensors only. "random" as
        model: random numbers in SD-turbo's and TAESD's sizes, for measuring speed.
    revision : of the model on the hub.
    local_files_only : never download.
    sha256 : what the weights' hashes must be, by part: unet, text_encoder, autoencoder, controlnet.
    prompt : what pictures are pulled towards; encoded once.
    loras : added for everybody. identities : by avatar, added for that one; its rows are a batch of their own.
    avatar_loras : avatars that hold a LoRA (`being fit-refiner --refiner streamdiffusion`) are refined with it.
        lora_rank : the largest there is room for, and that of those that are trained.
    controlnet : of the model's line, for depth; makes the renderer draw depth. control_scale : how much it counts.
    through : package, by StreamDiffusion's own arithmetic, rows of one timestep together; direct, by ours, which is the
        same; auto, the package where it is installed.
    timesteps : of 1000, ascending, which a row's strength climbs: at 0.5 the first of two, at 1 the second; more is
        less of the render and more of the prompt. SD-turbo was distilled at 249, 499, 749 and 999. Below the first
        one's share of strength the pictures are blended.
    sizes, batches : what is prepared for on a GPU; smaller batches are filled up, larger ones cut.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "stabilityai/sd-turbo"
    autoencoder: str = "madebyollin/taesd"
    revision: str | None = None
    local_files_only: bool = False
    sha256: dict[Literal["unet", "text_encoder", "autoencoder", "controlnet"], str] = {}
    prompt: str = PROMPT
    loras: tuple[Lora, ...] = ()
    identities: dict[str, Lora] = {}
    avatar_loras: bool = True
    lora_rank: int = Field(default=16, ge=1, le=128)
    controlnet: str | None = None
    control_scale: float = Field(default=0.5, ge=0, le=2)
    timesteps: tuple[Annotated[int, Field(ge=0, lt=STEPS)], ...] = (249,)
    through: Literal["auto", "package", "direct"] = "auto"
    precision: Literal["auto", "float16", "bfloat16", "float32"] = "auto"
    sizes: tuple[Size, ...] = (256, 384, 512)
    batches: tuple[Annotated[int, Field(ge=1, le=64)], ...] = (1, 2, 4, 8)

    @field_validator("sizes", "batches", "timesteps")
    @classmethod
    def _ascending(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if not values:
            raise ValueError("at least one")
        return tuple(sorted(set(values)))


def checked_settings(options: Mapping[str, Any]) -> StreamDiffusionSettings:
    """Settings by the backend's options. InputError for one that is unknown or out of range."""
    try:
        return StreamDiffusionSettings.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        known = ", ".join(StreamDiffusionSettings.model_fields)
        raise InputError(
            f"options of the refiner streamdiffusion: {name}: {first['msg']}", f"Known: {known}"
        ) from error
