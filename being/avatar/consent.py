"""Whose face this is, and what that person agreed to: the record every avatar carries."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

ConsentStatus = Literal["synthetic", "consented", "unconsented"]


class ConsentRecord(BaseModel):
    """Who agreed to be cloned, when, to what, over which footage.

    status: "synthetic" (nobody's likeness), "consented" (the person agreed: `who`, `when`, `scope` and `statement` are
    then required), or "unconsented" (nothing is known; for the owner's own experiments, refused wherever strangers are
    served). footage_sha256: hash of the video the avatar was trained from, so that a record cannot be moved silently to
    another person's clone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: ConsentStatus = "unconsented"
    who: str = Field(default="", max_length=200)
    when: date | None = None
    scope: str = Field(default="", max_length=2000)
    statement: str = Field(default="", max_length=10_000)
    footage_sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _consent_is_complete(self) -> ConsentRecord:
        if self.status == "consented":
            missing = [name for name in ("who", "when", "scope", "statement") if not getattr(self, name)]
            if missing:
                raise ValueError(f"status is 'consented' but {', '.join(missing)} is missing")
        return self

    @property
    def may_be_served(self) -> bool:
        """True where the face belongs to nobody or its owner agreed."""
        return self.status != "unconsented"


SYNTHETIC = ConsentRecord(
    status="synthetic", who="nobody", scope="any use", statement="A generated character; no person's likeness is used."
)
