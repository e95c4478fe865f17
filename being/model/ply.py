"""Gaussians as a standard 3DGS PLY file, which every splat viewer opens.

Beside the standard properties two floats of our own are written, `head_weight` and `audio_gate`; viewers
ignore them, and a file without them is read as a head that sound moves everywhere (both 1).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from being.atomic import whole_file
from being.errors import FormatError
from being.model.gaussians import SH_COEFFICIENTS, Gaussians

MAX_GAUSSIANS = 20_000_000
MAX_HEADER_LINES = 512
MAX_LINE_BYTES = 1024

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}

_XYZ = ["x", "y", "z"]
_NORMALS = ["nx", "ny", "nz"]
_DC = [f"f_dc_{i}" for i in range(3)]
_SCALES = [f"scale_{i}" for i in range(3)]
_QUATS = [f"rot_{i}" for i in range(4)]
_REST_PER_CHANNEL = SH_COEFFICIENTS - 1
_REST = [f"f_rest_{i}" for i in range(3 * _REST_PER_CHANNEL)]
_OURS = ["head_weight", "audio_gate"]


def load_ply(path: str | os.PathLike[str]) -> Gaussians:
    """Read a 3DGS PLY (binary of either byte order, or ascii); SH of degree 0 to 3, missing degrees are zero.

    Raises
    ------
    FormatError
        Not a PLY, truncated, a missing property, an absurd count, or a value that `Gaussians.validate`
        refuses. Nothing is allocated for rows that the file cannot hold.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            rows = _read_rows(file, path)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    names = set(rows.dtype.names or ())

    def columns(wanted: list[str]) -> np.ndarray:
        missing = [name for name in wanted if name not in names]
        if missing:
            raise FormatError(f"{path}: no property {missing[0]}", "A 3D Gaussian splatting PLY is expected")
        with np.errstate(over="ignore"):  # a double beyond float32 becomes inf, which validate() refuses
            return np.stack([rows[name].astype(np.float32) for name in wanted], axis=-1)

    rest_count = sum(name.startswith("f_rest_") for name in names)
    if rest_count not in (0, 9, 24, 45):
        raise FormatError(f"{path}: {rest_count} f_rest properties, expected 0, 9, 24 or 45")
    sh = np.zeros((len(rows), SH_COEFFICIENTS, 3), np.float32)
    sh[:, 0] = columns(_DC)
    if rest_count:
        # The file is channel-major: all red coefficients, then all green, then all blue.
        rest = columns(_REST[:rest_count]).reshape(len(rows), 3, rest_count // 3)
        sh[:, 1 : 1 + rest_count // 3] = rest.transpose(0, 2, 1)
    ones = np.ones(len(rows), np.float32)
    gaussians = Gaussians(
        xyz=torch.from_numpy(columns(_XYZ)),
        log_scales=torch.from_numpy(columns(_SCALES)),
        quats=torch.from_numpy(columns(_QUATS)),
        opacity_logits=torch.from_numpy(columns(["opacity"])[:, 0].copy()),
        sh=torch.from_numpy(sh),
        head_weight=torch.from_numpy(columns(["head_weight"])[:, 0].copy() if "head_weight" in names else ones),
        audio_gate=torch.from_numpy(columns(["audio_gate"])[:, 0].copy() if "audio_gate" in names else ones.copy()),
    )
    try:
        return gaussians.validate()
    except FormatError as error:
        raise FormatError(f"{path}: {error.problem}") from error


def save_ply(path: str | os.PathLike[str], gaussians: Gaussians, ours: bool = True) -> None:
    """Write binary little endian, replacing `path` only when the whole file is written.

    `ours` : with our two properties beside the standard ones.
    """
    path = Path(path)
    host = {name: tensor.detach().cpu().numpy().astype(np.float32) for name, tensor in gaussians.tensors().items()}
    count = gaussians.count
    table = np.concatenate(
        [
            host["xyz"],
            np.zeros((count, 3), np.float32),
            host["sh"][:, 0],
            host["sh"][:, 1:].transpose(0, 2, 1).reshape(count, -1),
            host["opacity_logits"][:, None],
            host["log_scales"],
            host["quats"],
            *([host["head_weight"][:, None], host["audio_gate"][:, None]] if ours else []),
        ],
        axis=1,
    )
    properties = [*_XYZ, *_NORMALS, *_DC, *_REST, "opacity", *_SCALES, *_QUATS, *(_OURS if ours else [])]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    header += [f"property float {name}" for name in properties] + ["end_header", ""]
    with whole_file(path) as partial, partial.open("wb") as file:
        file.write("\n".join(header).encode("ascii"))
        file.write(np.ascontiguousarray(table, dtype="<f4").tobytes())


def _read_rows(file: BinaryIO, path: Path) -> np.ndarray:
    """The vertex element as a structured array (N,)."""
    order, count, properties = _read_header(file, path)
    dtype = np.dtype([(name, order + kind) for name, kind in properties])
    left = os.fstat(file.fileno()).st_size - file.tell()
    # An ascii value takes at least two bytes: a digit and a separator.
    needed = count * (2 * len(properties) if order == "=" else dtype.itemsize)
    if left + (order == "=") < needed:  # the last separator of an ascii file may be missing
        raise FormatError(
            f"{path}: truncated: {count} Gaussians need {needed} bytes, {max(left, 0)} are left", "Copy the file again"
        )
    if order != "=":
        return np.frombuffer(file.read(count * dtype.itemsize), dtype=dtype)
    rows = np.zeros(count, dtype)
    for index in range(count):
        values = file.readline(64 * len(properties)).split()
        if len(values) != len(properties):
            raise FormatError(f"{path}: row {index} has {len(values)} values, expected {len(properties)}")
        try:
            rows[index] = tuple(float(value) for value in values)
        except (ValueError, OverflowError) as error:
            raise FormatError(f"{path}: row {index} is not numbers ({error})") from error
    return rows


def _read_header(file: BinaryIO, path: Path) -> tuple[str, int, list[tuple[str, str]]]:
    """Byte order, row count and (name, numpy type) of each property of the vertex element."""
    if file.readline(8).strip() != b"ply":
        raise FormatError(f"{path}: not a PLY file")
    order: str | None = None
    count: int | None = None
    element = ""
    properties: list[tuple[str, str]] = []
    for _ in range(MAX_HEADER_LINES):
        line = file.readline(MAX_LINE_BYTES)
        words = line.decode("ascii", errors="replace").split()
        if not line.endswith(b"\n"):
            raise FormatError(f"{path}: the header does not end", "Copy the file again")
        match words:
            case ["end_header"]:
                break
            case ["format", name, _] if name in _BYTE_ORDERS:
                order = _BYTE_ORDERS[name]
            case ["format", *rest]:
                raise FormatError(f"{path}: format {' '.join(rest)!r} is unknown")
            case ["element", "vertex", number] if count is None and element == "":
                element = "vertex"
                if not number.isdecimal() or not 0 < int(number) <= MAX_GAUSSIANS:
                    raise FormatError(f"{path}: {number} Gaussians, expected 1 to {MAX_GAUSSIANS}")
                count = int(number)
            case ["element", *rest]:
                if count is None:
                    raise FormatError(f"{path}: the first element is {' '.join(rest)!r}, expected vertex")
                element = rest[0] if rest else ""
            case ["property", kind, name] if element == "vertex" and kind in _TYPES:
                properties.append((name, _TYPES[kind]))
            case ["property", *rest] if element == "vertex":
                raise FormatError(f"{path}: property {' '.join(rest)!r} is not a scalar of a known type")
    else:
        raise FormatError(f"{path}: the header has more than {MAX_HEADER_LINES} lines")
    if order is None or count is None or not properties:
        raise FormatError(f"{path}: the header lacks format, vertex element or properties")
    if len({name for name, _ in properties}) != len(properties):
        raise FormatError(f"{path}: a property occurs twice")
    return order, count, properties
