"""The user's own key: made once, kept for its owner's eyes only, and used to sign consent records into avatars.

The key is an Ed25519 key in a PEM file, by default `~/.config/being/key.pem` (XDG_CONFIG_HOME and BEING_KEY are heard).
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from being.avatar.consent import Signature
from being.avatar.schema import AvatarManifest
from being.errors import FormatError, InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REMEDY = "pip install cryptography"


def key_path() -> Path:
    """Where the user's key is kept."""
    named = os.environ.get("BEING_KEY")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "being" / "key.pem"


def signed_manifest(manifest: AvatarManifest) -> AvatarManifest:
    """The manifest with its consent record signed by the user's key, together with the hashes of the model's files.

    One that nobody agreed to stays as it is. Given to `save_avatar` and `amend_avatar` as `sign`: the avatar is never
    on disk without its signature.

    Raises
    ------
    InputError, FormatError
        Where the key cannot be read or written.
    """
    if manifest.consent.status != "consented":
        return manifest
    unsigned = manifest.consent.model_copy(update={"signature": None})
    signature = sign(unsigned.message(manifest.files))
    return manifest.model_copy(update={"consent": unsigned.model_copy(update={"signature": signature})})


def sign(message: bytes) -> Signature:
    """The user's signature of `message`; the key is made where there is none yet."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = own_key()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Signature(key=public.hex(), value=key.sign(message).hex())


def verify(message: bytes, signature: Signature) -> str:
    """What is wrong with a signature, in a few words; empty where it is genuine."""
    return _verify(message, signature.key, signature.value)


@lru_cache(maxsize=256)
def _verify(message: bytes, key: str, value: str) -> str:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return f"its signature cannot be checked here ({REMEDY})"
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(value), message)
    except (InvalidSignature, ValueError):
        return "its signature is wrong"
    return ""


def own_key() -> Ed25519PrivateKey:
    """The user's key, made at first use.

    Raises
    ------
    InputError
        The file cannot be read or written, or others than its owner may read it.
    FormatError
        It is no Ed25519 key.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise InputError("Signing a consent record needs the package cryptography", REMEDY) from error
    path = key_path()
    if not path.exists():
        return _make(path)
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise InputError(f"{path} can be read by others", f"Keep it to yourself: chmod 600 {path}")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", "Name another key: BEING_KEY=FILE") from error
    except (ValueError, TypeError) as error:
        raise FormatError(f"{path} is not a key", "Move it away and a new one is made, or BEING_KEY=FILE") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise FormatError(f"{path} is not an Ed25519 key", "Move it away and a new one is made, or BEING_KEY=FILE")
    return key


def _make(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(text)
    except FileExistsError:  # another process was first
        return own_key()
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror})", "Name another place: BEING_KEY=FILE"
        ) from error
    return key
