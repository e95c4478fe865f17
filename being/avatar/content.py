"""Opening one file of an avatar as what its name claims, and as nothing else: no pickle is ever read."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from being.errors import FormatError

MAX_JSON_BYTES = 4 << 20
MAX_ARRAY_BYTES = 1 << 30  # one array of an npz, uncompressed: a zip can claim far more than it weighs
_MAGIC = {
    ".ply": (b"ply\n", b"ply\r\n"),
    ".npz": (b"PK\x03\x04",),
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
}
_REMEDY = "Copy the avatar again from where it was made"


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_content(path: Path) -> None:
    """Refuse a file whose first bytes are not those of its suffix (.ply, .safetensors, .npz, .png, .jpg).

    Raises
    ------
    FormatError
        Where it is a pickle, is empty, or holds something else than its name says.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise FormatError(f"{path}: the file is empty", _REMEDY)
    if path.suffix == ".safetensors":
        size = path.stat().st_size
        header = struct.unpack("<Q", head[:8])[0] if len(head) >= 9 else size
        genuine = head[8:9] == b"{" and header + 8 <= size
    else:
        genuine = head.startswith(_MAGIC[path.suffix])
    if genuine:
        return
    if looks_like_pickle(head):
        raise FormatError(f"{path}: holds a Python pickle, which could run code; it is never opened", _REMEDY)
    raise FormatError(f"{path}: is not a {path.suffix[1:]} file, or is cut short", _REMEDY)


def looks_like_pickle(head: bytes) -> bool:
    """True for the first bytes of a pickle (protocol 2 and later) or of a torch checkpoint (a zip of one)."""
    binary = len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5
    return binary or (head.startswith(b"PK\x03\x04") and b"data.pkl" in head)


def read_json(path: Path) -> Any:
    """Decoded JSON; NaN and Infinity, which JSON does not have, are refused."""

    def refuse(constant: str) -> None:
        raise FormatError(f"{path}: holds {constant}, which is not a number")

    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise FormatError(f"{path}: is larger than {MAX_JSON_BYTES >> 20} MiB")
        return json.loads(path.read_text("utf-8"), parse_constant=refuse)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: is not JSON ({error})", _REMEDY) from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz without pickled objects, sizes checked before anything is allocated."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size > MAX_ARRAY_BYTES:
                    raise FormatError(f"{path}: {member.filename} claims {member.file_size} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, zipfile.BadZipFile, EOFError, ValueError) as error:
        if "pickle" in str(error).lower():
            raise FormatError(f"{path}: holds pickled objects, which could run code; they are never opened") from None
        raise FormatError(f"{path}: is damaged ({error})", _REMEDY) from None


def read_picture(path: Path, max_side: int) -> np.ndarray:
    """A PNG or JPEG as uint8 (H, W, 3) RGB, its size checked before it is decoded."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            if max(picture.size) > max_side:
                raise FormatError(f"{path}: is {picture.width}x{picture.height}, at most {max_side} a side is allowed")
            return np.asarray(picture.convert("RGB"), np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path}: is not a whole PNG or JPEG picture ({error})", _REMEDY) from None
