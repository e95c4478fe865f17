"""What one client may ask for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from being.server.problems import Problem

MIB = 1 << 20


class ServingLimits(BaseModel):
    """Bounds of what a server does for its clients."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upload_bytes: int = Field(default=200 * MIB, gt=0)
    upload_s: float = Field(default=120.0, gt=0, description="An upload that takes longer is given up")
    picture_bytes: int = Field(default=16 * MIB, gt=0, description="Largest picture for a background")
    sound_s: float = Field(default=600.0, gt=0, description="Longest sound of one `speak`")
    side: int = Field(default=1920, ge=64, description="Largest width or height of a picture")
    sessions: int = Field(default=64, ge=1, description="Live sessions of one ingress, whatever they cost")
    admission: bool = Field(
        default=True,
        description="false: admit up to `sessions` on each worker whatever frames cost; for measuring what is "
        "delivered, not for people",
    )
    speaking: int = Field(default=2, ge=1, description="`speak` requests worked on at once")
    message_bytes: int = Field(default=MIB, gt=0, description="Largest WebSocket message a client may send")
    buffered_s: float = Field(default=120.0, gt=0, description="Sound of one session that may wait to be heard")
    window_bytes: int = Field(default=2 * MIB, gt=0, description="Sent and not acknowledged by a live client")
    gone_s: float = Field(default=10.0, gt=0, description="A live client silent for so long is let go")
    serve_unconsented: bool = Field(default=False, description="Play avatars whose consent record is missing")


def check_size(width: int, height: int, limits: ServingLimits) -> None:
    """Refuse a picture larger than the server draws."""
    if max(width, height) > limits.side:
        raise Problem(422, f"{width}x{height} is larger than this server draws", f"At most {limits.side} a side")
