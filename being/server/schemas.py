"""What live clients send and receive: options, messages, and what is known of a session."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

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
LiveFormat = Literal["mp4", "jpeg"]
Strength = Annotated[
    float,
    Field(ge=0, le=1, description="How much the refiner changes frames; 0 leaves them as they were rendered"),
]


class SessionInfo(BaseModel):
    """One live session; its fields are what a listing shows."""

    id: str
    avatar: str
    worker: str | None = Field(default=None, description="Who holds it; none while any worker may go on with it")
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


class MadeBackground(BaseModel):
    """A picture that can be named as a background from now on, as long as it is among the latest the server got."""

    background: str
    width: int
    height: int


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
    refine: Strength | None = None


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
    refine: Strength | None = Field(default=None, description="Strength of the refiner; of the server where left out")
    session: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{8,64}$",
        description="With `token`: the session to come back to. Without: the id that a new one is to have, for a proxy "
        "that keeps the requests of a session together",
    )
    token: str | None = Field(default=None, max_length=64)


SessionInfo.model_rebuild()
