"""Whose face this is, and what that person agreed to: the record every avatar carries, and who vouches for it.

A record may be signed (Ed25519) together with the hashes of the avatar's Gaussians and network. The signature proves
that neither the record nor the model was changed, and not moved to another avatar, since the holder of one key wrote
them. It does not prove that the person agreed: that is what the statement claims, and whoever holds the key answers for
it. A record that says "consented" without a valid signature counts as no record.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

ConsentStatus = Literal["synthetic", "consented", "unconsented"]
SIGNED_FILES = ("gaussians.ply", "network.safetensors")  # what the person looks like


class Signature(BaseModel):
    """Ed25519 signature by the holder of `key` (public), both in hexadecimal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: Literal["ed25519"] = "ed25519"
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    value: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]

    @property
    def fingerprint(self) -> str:
        """The key as people compare it: its first sixteen digits in fours."""
        return " ".join(self.key[i : i + 4] for i in range(0, 16, 4))


class ConsentRecord(BaseModel):
    """Who agreed to be cloned, when, to what, on what grounds, over which footage.

    status: "synthetic" (nobody's likeness), "consented" (the person agreed: `who`, `when`, `scope` and `statement` are
    then required), or "unconsented" (nothing is known; for the owner's own experiments, refused wherever strangers are
    served). grounds: why this may be done, "self" where the person cloned is the one who recorded it. footage_sha256:
    hash of the video the avatar was trained from, so that a record cannot be moved silently to another person's clone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: ConsentStatus = "unconsented"
    who: str = Field(default="", max_length=200)
    when: date | None = None
    scope: str = Field(default="", max_length=2000)
    grounds: str = Field(default="", max_length=2000)
    statement: str = Field(default="", max_length=10_000)
    footage_sha256: Sha256 | None = None
    signature: Signature | None = None

    @model_validator(mode="after")
    def _consent_is_complete(self) -> ConsentRecord:
        if self.status == "consented":
            missing = [name for name in ("who", "when", "scope", "statement") if not getattr(self, name)]
            if missing:
                raise ValueError(f"status is 'consented' but {', '.join(missing)} is missing")
        return self

    def message(self, files: Mapping[str, str]) -> bytes:
        """The bytes that are signed: the record without its signature, and the hashes of the model's files."""
        record = self.model_copy(update={"signature": None}).model_dump_json(exclude={"signature"})
        hashes = "".join(f"\n{name} {files.get(name, '')}" for name in SIGNED_FILES)
        return f"being consent 1\n{record}{hashes}".encode()


SYNTHETIC = ConsentRecord(
    status="synthetic", who="nobody", scope="any use", statement="A generated character; no person's likeness is used."
)
