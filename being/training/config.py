"""What a training run can be told, typed and checked at the door; the command line is built from it (`options`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from being.training.former_names import with_present_names

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
Rate = Annotated[float, Field(gt=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LossWeights(_Part):
    """How much each part of the loss counts; 0 leaves the part out."""

    l1: Weight = Field(default=0.8, description="mean absolute difference of colours")
    ssim: Weight = Field(default=0.2, description="1 - structural similarity")
    lips: Weight = Field(default=0.1, description="mean absolute difference inside the lip box")
    eyes: Weight = Field(default=0.05, description="mean absolute difference inside the eye boxes")
    teeth: Weight = Field(default=0.05, description="mean absolute difference inside the open mouth, teeth first")
    alpha: Weight = Field(default=0.1, description="coverage against the person's mask")
    perceptual: Weight = Field(default=0.01, description="VGG features of the face; only where --vgg gives weights")
    detail: Weight = Field(default=0.0, description="strength of the face's fine structure, wherever exactly it lies")
    offsets: Weight = Field(default=1e-3, description="size of the network's displacements (dm)")
    lip_motion: Weight = Field(default=0.0, description="distances between the lips' landmarks, dm")
    lid_motion: Weight = Field(default=1.0, description="heights of the lids' landmarks, dm")
    corrections: Weight = Field(default=1e-4, description="size of the frames' corrections, in what is ordinary")


class LearningRates(_Part):
    """Adam's highest learning rates in a stage; each ends it at `final` of that (see `being.training.schedule`)."""

    xyz: Rate = Field(default=4e-4, description="positions, dm a step")
    colour: Rate = Field(default=5e-3, description="constant colour; the direction-dependent part learns at 1/20 of it")
    opacity: Rate = Field(default=2.5e-2, description="opacity logits")
    scale: Rate = Field(default=5e-3, description="log scales")
    rotation: Rate = Field(default=2e-3, description="quaternions")
    head_weight: Rate = Field(default=1e-3, description="share of head and torso motion")
    network: Rate = Field(default=1e-3, description="attention, heads and condition nets")
    planes: Rate = Field(default=5e-3, description="triplane")
    audio_encoder: Share = Field(
        default=1.0, description="factor on the network's rate for its audio encoder, where that is not frozen"
    )
    final: Rate = Field(default=0.02, description="what is left of a rate at the end of a stage")
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.03, description="share of the network stage in which its rates rise from 0"
    )
    gaussians_in_network_stage: Share = Field(
        default=0.3, description="factor on the Gaussians' rates in the second stage"
    )


class CorrectionConfig(_Part):
    """Exposure and pose of single frames, refined while training; see `being.training.model.corrections`."""

    exposure: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=3e-3, description="learning rate of the frames' exposure, each time one is looked at; 0: as filmed"
    )
    pose: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=1e-2,
        description="learning rate of the frames' pose corrections (radians, dm), each time one is looked at; "
        "0: as tracked",
    )
    in_network_stage: Share = Field(default=0.1, description="factor on both rates in the second stage")
    ordinary_exposure: Annotated[float, Field(gt=0)] = Field(
        default=0.02, description="an ordinary correction of exposure, as a share"
    )
    ordinary_pose: Annotated[float, Field(gt=0)] = Field(
        default=0.01, description="an ordinary correction of a pose, radians and dm"
    )
    head_smoothing: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="frames, deviation of the Gaussian that smooths finished corrections of heads, at most"
    )
    torso_smoothing: Annotated[float, Field(ge=0)] = Field(default=2.0, description="the same for the torso")


class DensifyConfig(_Part):
    """When Gaussians are added and removed; see `being.training.model.densify`."""

    rounds: Annotated[int, Field(ge=0)] = Field(default=40, description="rounds a stage")
    start: Share = Field(default=0.05, description="first round, as a share of the stage")
    stop: Share = Field(default=0.6, description="last round, as a share of the stage")
    static_share: Share = Field(default=0.6, description="share of the growth that the static stage may use")
    prune_opacity: Share = Field(default=0.01, description="Gaussians fainter than this are removed")
    smallest: Annotated[float, Field(gt=0)] = Field(default=2e-3, description="dm; smaller Gaussians are not divided")
    split_above: Annotated[float, Field(gt=0)] = Field(
        default=0.03, description="dm; larger ones split, smaller ones clone"
    )
    absolute: bool = Field(
        default=False,
        description="divide where absolute gradients are large, on a GPU: where pixels pull two ways (true, false)",
    )
    face: Weight = Field(default=0.0, description="how much more often Gaussians of the face are divided")
    largest: Annotated[float, Field(gt=0)] = Field(default=1.5, description="dm; larger Gaussians are removed")
    reset_opacity: Share = Field(
        default=0.0, description="lower all opacities to this after half of the static rounds; 0: never"
    )


class FitConfig(_Part):
    """One training run. Fields: one for each option of the command line, which is built from them."""

    minutes: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="wall-clock budget: stages and learning rates are fitted to it and the steps are ignored",
    )
    static_steps: Annotated[int, Field(ge=0)] = Field(default=3000, description="steps of the static stage")
    network_steps: Annotated[int, Field(ge=0)] = Field(default=12000, description="steps of the network stage")
    static_minutes_share: Share = Field(default=0.2, description="share of --minutes the static stage gets")
    batch: Count = Field(default=8, description="frames a step")
    frames_at_once: Count | None = Field(
        default=None, description="draw a step's frames in groups of so many, for less memory; default: all together"
    )
    gaussians: Annotated[int, Field(ge=16, le=1_000_000)] = Field(
        default=20_000, description="at most so many Gaussians"
    )
    initial_gaussians: Annotated[int, Field(ge=16)] = Field(
        default=12_000, description="Gaussians before densification"
    )
    features: str = Field(default="phones", description="speech features: phones, logmel, wav2vec2, deepspeech")
    look_ahead: Annotated[int, Field(ge=0, le=25)] | Literal["published"] = Field(
        default=1, description="frames of future sound in a frame's audio context"
    )
    pretrained: str = Field(
        default="demo", description="avatar whose trained network this one starts from; none: random weights"
    )
    pretrained_parts: Literal["audio_encoder", "network"] = Field(
        default="audio_encoder",
        description="what is taken from it: audio_encoder (the nets behind the audio token) or network, aligned "
        "with this head by the landmarks of both: how lips, jaw and lids move",
    )
    freeze_audio_encoder: bool = Field(
        default=False,
        description="do not train a pretrained audio encoder: on seconds of footage it overfits (true, false)",
    )
    feature_noise: Weight = Field(default=0.05, description="noise on the features while training, in their deviations")
    sound_rates: tuple[Annotated[float, Field(ge=0.5, le=2.0)], ...] = Field(
        default=(),
        description="speeds at which the footage's sound is heard as well, as if other voices spoke (0.85,1.15)",
    )
    rehearsal: Weight = Field(
        default=0.0,
        description="how much synthetic voices that are heard beside the footage's count for the lips' distances "
        "(--loss-lip-motion); 0: none is heard",
    )
    camera_noise: Weight = Field(default=0.02, description="noise on the camera code while training")
    expressions: bool = Field(
        default=True, description="learn smile and brows as the emotions that the footage shows (true, false)"
    )
    lips_parted: bool = Field(
        default=False, description="tell the network of lips that are open while nobody speaks (true, false)"
    )
    expression_noise: Weight = Field(default=0.05, description="noise on the expressions while training")
    open_mouth_weight: Weight = Field(
        default=2.0, description="how much more often frames with an open mouth are drawn"
    )
    blink_weight: Weight = Field(default=2.0, description="how much more often frames with shut eyes are drawn")
    inner_block: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        default=0.04,
        description="share of the frames held out in one block inside the footage (of 88 frames or more: 11 at least)",
    )
    lip_quantile: Share = Field(
        default=0.5, description="of what the sound leaves open, how far the lips open: 0.5 the median"
    )
    lip_opening_weight: Weight = Field(
        default=0.0, description="how much more the lips' distances count where the film's are wide open"
    )
    lip_depths: tuple[Annotated[float, Field(ge=-0.5, le=0.5)], ...] = Field(
        default=(0.0,),
        min_length=1,
        description="dm in front of where the lips' landmarks were triangulated at which they are led (-0.06,0,0.06)",
    )
    audio_gain: Annotated[float, Field(ge=1, le=2)] = Field(
        default=1.0,
        description="at most how much the audio token is amplified after training, for held-out mouths to open as "
        "filmed",
    )
    sharpening: Annotated[float, Field(ge=1, le=2.5)] = Field(
        default=1.0,
        description="at most how much the film's fine structure is amplified where it is taught, for faces to be drawn "
        "as sharp as filmed; 1: not at all",
    )
    plane_resolutions: tuple[Count, ...] = Field(default=(64, 128), description="triplane sizes")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.0, description="dropout of the network")
    loss: LossWeights = LossWeights()
    lr: LearningRates = LearningRates()
    corrections: CorrectionConfig = CorrectionConfig()
    densify: DensifyConfig = DensifyConfig()
    vgg: Path | None = Field(default=None, description="VGG-16 weights (.safetensors or .pt) for the perceptual loss")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1")
    backend: str = Field(default="auto", description="rasterizer: auto, gsplat, numba, inria, reference")
    precision: Literal["auto", "float32", "tf32", "bf16"] = Field(
        default="auto", description="arithmetic of the network; auto is tf32 on CUDA, float32 on CPU"
    )
    cuda_graphs: bool = Field(
        default=True,
        description="on one GPU, capture steps as CUDA graphs: some three times as fast; plain ones where that fails "
        "(true, false)",
    )
    keep_frames: Literal["auto", "device", "memory", "folder"] = Field(
        default="auto",
        description="where pictures are kept: on the device, in main memory, or in their folder, decoded again at each "
        "use; auto: where they fit",
    )
    seed: int = Field(default=0, description="start of all random numbers")
    checkpoint_every_s: Annotated[float, Field(gt=0)] = Field(default=60.0, description="seconds between checkpoints")
    evaluation_frames: Annotated[int, Field(ge=1)] = Field(
        default=300, description="at most so many held-out frames are scored"
    )
    quality_suite: bool = Field(
        default=True,
        description="after training: novel speech, lip sync, flicker, and the CPU approximation (true, false)",
    )

    @model_validator(mode="before")
    @classmethod
    def _present_names(cls, values: Any) -> Any:
        return with_present_names(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _consistent(self) -> FitConfig:
        if self.initial_gaussians > self.gaussians:
            raise ValueError(f"initial_gaussians {self.initial_gaussians} exceed gaussians {self.gaussians}")
        if self.densify.start > self.densify.stop:
            raise ValueError("densify.start lies after densify.stop")
        if self.minutes is None and self.static_steps + self.network_steps == 0:
            raise ValueError("static_steps and network_steps are both 0: nothing to train")
        return self
