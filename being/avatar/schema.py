"""`avatar.json`: everything about an avatar that is not an array, checked at the door."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from being.audio.features import FeatureSpec
from being.audio.windows import WindowSpec
from being.avatar.consent import ConsentRecord, Sha256
from being.avatar.former_names import FORMER_FILES, with_present_names
from being.constants import MAX_PICTURE_SIDE
from being.errors import FormatError, InputError
from being.model.network import NetworkConfig, Point

SCHEMA_VERSION = 1
MAX_GAUSSIANS = 1_000_000

# What a folder may hold beside avatar.json. Required files first; nothing else is opened.
REQUIRED_FILES = ("gaussians.ply", "network.safetensors", "motion.npz", "background.png", "preview.jpg")
OPTIONAL_FILES = (
    "refiner.safetensors",
    "lora.safetensors",
    "motion_stats.safetensors",
    "pca.safetensors",
    "distilled.safetensors",
)

AvatarId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Approximation = Literal["full", "pruned", "pca", "distilled"]


def check_id(name: str) -> None:
    """Raise InputError where an avatar cannot be called so; asked before hours are spent on it."""
    try:
        TypeAdapter(AvatarId).validate_python(name)
    except ValidationError:
        raise InputError(
            f"{name!r} cannot be an avatar's id",
            "Use small letters, digits, - and _, like avatars/ada; --name may be anything",
        ) from None


class AvatarManifest(BaseModel):
    """The content of `avatar.json`.

    Lengths are in decimetres (10 cm), pixels refer to the recorded frame of `width` x `height`. Canonical axes: x to
    the image's right, y up, z toward the viewer; the camera is OpenCV's (x right, y down, z forward), static, at the
    origin, with one focal length and principal point (cx, cy). Fields: one for each key of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    id: AvatarId
    name: str = Field(min_length=1, max_length=200)
    fps: Literal[25] = 25
    width: int = Field(ge=16, le=MAX_PICTURE_SIDE)
    height: int = Field(ge=16, le=MAX_PICTURE_SIDE)
    focal: float = Field(gt=0)
    cx: float
    cy: float
    axes: Literal["x right, y up, z to viewer; camera OpenCV"] = "x right, y up, z to viewer; camera OpenCV"
    features: FeatureSpec
    look_ahead: Literal["published"] | Annotated[int, Field(ge=0, le=25)] = 1
    landmarks: Annotated[tuple[Point, ...], Field(min_length=68, max_length=68)] | None = None
    """Where the face's 68 iBUG landmarks are on average, in head space: how another face is laid over this one."""
    network: NetworkConfig
    gaussians: int = Field(gt=0, le=MAX_GAUSSIANS)
    approximation: Approximation = "full"
    """The fastest approximation of the network on a CPU whose measured loss on this avatar is at most 0.3 dB."""
    metrics: dict[str, float] = {}
    consent: ConsentRecord = ConsentRecord()
    files: dict[str, Sha256] = {}

    @model_validator(mode="before")
    @classmethod
    def _present_names(cls, values: Any) -> Any:
        return with_present_names(values) if isinstance(values, dict) else values

    @field_validator("files")
    @classmethod
    def _known_files(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if name not in REQUIRED_FILES + OPTIONAL_FILES + FORMER_FILES:
                raise ValueError(f"{name!r} is not a file of an avatar")
        return files

    @model_validator(mode="after")
    def _principal_point_inside(self) -> AvatarManifest:
        if not (0 <= self.cx <= self.width and 0 <= self.cy <= self.height):
            raise ValueError(f"cx, cy = {self.cx}, {self.cy} lies outside the {self.width}x{self.height} frame")
        return self

    @property
    def windows(self) -> WindowSpec:
        """How feature steps become the audio context of a frame."""
        return _window_spec(self.look_ahead)

    @property
    def intrinsics(self) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy of the recorded frame, pixels."""
        return self.focal, self.focal, self.cx, self.cy


def parse_manifest(data: Any, where: str) -> AvatarManifest:
    """Check decoded JSON; `where` names the file in errors.

    Raises
    ------
    FormatError
        Naming the first wrong field, or the schema version where it is not one this library reads.
    """
    if not isinstance(data, dict):
        raise FormatError(f"{where}: a JSON object was expected, found {type(data).__name__}")
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        raise FormatError(
            f"{where}: schema_version is {version!r}, this library reads {SCHEMA_VERSION}",
            "Install a newer Being: pip install . in its updated checkout"
            if newer
            else "Save the avatar again with being fit",
        )
    try:
        return AvatarManifest.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        raise FormatError(f"{where}: {field}: {first['msg']}") from None


@lru_cache(maxsize=32)
def _window_spec(look_ahead: Literal["published"] | int) -> WindowSpec:
    """Asked for with every live frame, and checked when it is made."""
    return WindowSpec(look_ahead=look_ahead)
