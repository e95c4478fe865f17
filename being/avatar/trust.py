"""How far an avatar's consent record is trusted: what strangers may be shown."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from being.avatar.schema import AvatarManifest
from being.avatar.signing import verify


class ConsentTrust(BaseModel):
    """How far a consent record is trusted. serve: whether strangers may see the avatar. text: one line for people."""

    model_config = ConfigDict(frozen=True)

    serve: bool
    text: str


def consent_trust(manifest: AvatarManifest) -> ConsentTrust:
    """How far the consent record of an avatar is trusted, its signature checked."""
    record = manifest.consent
    if record.status == "synthetic":
        return ConsentTrust(serve=True, text="synthetic")
    if record.status == "unconsented":
        return ConsentTrust(serve=False, text="unconsented")
    if record.signature is None:
        return ConsentTrust(serve=False, text=f"{record.who}, {record.when}: not signed, counts as none")
    problem = verify(record.message(manifest.files), record.signature)
    if problem:
        return ConsentTrust(serve=False, text=f"{record.who}, {record.when}: {problem}, counts as none")
    return ConsentTrust(serve=True, text=f"{record.who}, {record.when}; signed by {record.signature.fingerprint}")
