"""What clients send and receive: request options, answers, and the messages of a live session."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from being.avatar.consent import ConsentStatus
from being.avatar.schema import AvatarManifest

MIN_SIDE, MAX_SIDE = 64, 2048  # pixels of a served picture; the server's own limit may be lower

Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE, multiple_of=2)]
Background = Annotated[
    str,
    Field(
        pattern=r"^(plate|none|#[0-9a-fA-F]{6}|picture:[0-9a-f]{16})$",
        description="`plate` (the room the avatar was recorded in), `#rrggbb`, `picture:...` (answered by `POST "
        "/v1/backgrounds`), or `none` (transparent, WebM only)",
        examples=["plate", "#204060"],
    ),
]
# Rates with hardly a common divisor with ours would take a filter of millions of taps.
SoundRate = Annotated[
    int,
    Field(ge=8000, le=48_000, multiple_of=25, description="Hz of the PCM sent; every usual rate is a multiple of 25"),
]
SpeakFormat = Literal["mp4", "webm", "mjpeg"]
LiveFormat = Literal["mp4", "jpeg"]


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


class SessionInfo(BaseModel):
    """One live session."""

    id: str
    avatar: str
    state: Literal["live", "waiting"] = Field(description="`waiting`: its client is gone and may still come back")
    started: datetime
    width: int
    height: int
    format: LiveFormat
    frame: int = Field(description="The playhead, in frames of 40 ms")
    generation: int
    talking: bool
    buffered_s: float = Field(description="Seconds of sound that arrived and were not heard yet")
    fps: float = Field(description="Distinct frames of the last second")
    repeats: int
    dropped: int = Field(description="Pieces a slow client never got")
    latency_ms: Latency | None


class Latency(BaseModel):
    """Tick to sent, milliseconds, over the last 250 frames."""

    p50: float
    p95: float
    p99: float


class SessionList(BaseModel):
    sessions: list[SessionInfo]


class MadeBackground(BaseModel):
    """A picture that can be named as a background from now on, as long as it is among the latest the server got."""

    background: str
    width: int
    height: int


class Health(BaseModel):
    status: Literal["ok"]


class Readiness(BaseModel):
    status: Literal["ready"]
    avatars: int
    sessions: int
    frame_ms: float | None = Field(description="Measured cost of a 512x512 frame")
    room: int = Field(description="Further 512x512 sessions that would be admitted now")


# Messages of a live session, client to server.


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Configure(Message):
    """Change how the session looks and what it is sent; what is left out stays as it is.

    A change of `format`, `width` or `height` starts a new stream: `ready` is sent again, then its first bytes.
    """

    type: Literal["configure"]
    sample_rate: SoundRate | None = None
    background: Background | None = None
    width: Side | None = None
    height: Side | None = None
    format: LiveFormat | None = None
    emotion: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = None


class Interrupt(Message):
    """Stop talking: sound that was not heard yet is dropped."""

    type: Literal["interrupt"]


class End(Message):
    """The utterance is complete: say what has arrived without waiting for more."""

    type: Literal["end"]


class Received(Message):
    """How many bytes of pictures and sound have arrived since the stream's `ready`: send it a few times a second.

    The server sends at most a window of bytes ahead of it, and frees a session whose client falls silent.
    """

    type: Literal["received"]
    bytes: int = Field(ge=0)


ClientMessage = Annotated[Configure | Interrupt | End | Received, Field(discriminator="type")]
client_message: TypeAdapter[Configure | Interrupt | End | Received] = TypeAdapter(ClientMessage)


class LiveOptions(BaseModel):
    """The query of a live connection."""

    width: Side | None = None
    height: Side | None = None
    format: LiveFormat = "mp4"
    background: Background = "plate"
    sample_rate: SoundRate = 16_000
    session: str | None = Field(default=None, max_length=64)
    token: str | None = Field(default=None, max_length=64)


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


SessionInfo.model_rebuild()
