"""The answers of HTTP routes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from being.avatar.consent import ConsentStatus
from being.avatar.schema import AvatarManifest
from being.server.schemas import SessionInfo

SpeakFormat = Literal["mp4", "webm", "mjpeg"]


class AvatarSummary(BaseModel):
    """One avatar of the library."""

    id: str
    name: str
    width: int
    height: int
    fps: int
    consent: ConsentStatus
    servable: bool = Field(description="Whether this server plays it: the person agreed, or there is no such person")
    preview: str = Field(description="Where its picture is, relative to the address this was read from")


class BrokenFolder(BaseModel):
    """A folder that looks like an avatar and cannot be used."""

    name: str
    problem: str


class AvatarList(BaseModel):
    avatars: list[AvatarSummary]
    broken: list[BrokenFolder]


class AvatarDetail(AvatarSummary):
    """What is known of one avatar."""

    features: str = Field(description="What it listens to")
    look_ahead_frames: int | Literal["published"]
    gaussians: int
    approximation: str = Field(description="The approximation of its network that a CPU draws with")
    emotions: list[str]
    metrics: dict[str, float]


class SessionList(BaseModel):
    sessions: list[SessionInfo]


class Health(BaseModel):
    status: Literal["ok"]


class Readiness(BaseModel):
    status: Literal["ready"]
    avatars: int
    sessions: int
    frame_ms: float | None = Field(description="Measured cost of a 512x512 frame")
    room: int = Field(description="Further 512x512 sessions that would be admitted now, by all workers together")
    workers: dict[str, int] = Field(description="The same by worker, if all came to that one")


def summary(manifest: AvatarManifest, *, servable: bool, folder: str = "avatars/") -> AvatarSummary:
    """`folder` is what leads from the address that is read to those of the avatars."""
    return AvatarSummary(
        id=manifest.id,
        name=manifest.name,
        width=manifest.width,
        height=manifest.height,
        fps=manifest.fps,
        consent=manifest.consent.status,
        servable=servable,
        preview=f"{folder}{manifest.id}/preview.jpg",
    )


def detail(manifest: AvatarManifest, *, servable: bool) -> AvatarDetail:
    return AvatarDetail(
        **summary(manifest, servable=servable, folder="").model_dump(),
        features=manifest.features.name,
        look_ahead_frames=manifest.look_ahead,
        gaussians=manifest.gaussians,
        approximation=manifest.approximation,
        emotions=list(manifest.network.emotion_states),
        metrics=manifest.metrics,
    )
