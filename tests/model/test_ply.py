"""PLY files: what is written is what standard readers expect, and damaged files are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.model_parts import make_gaussians

from being.errors import FormatError
from being.model import load_ply, save_ply

STANDARD = ["x", "y", "z", "nx", "ny", "nz", *[f"f_dc_{i}" for i in range(3)], *[f"f_rest_{i}" for i in range(45)],
            "opacity", *[f"scale_{i}" for i in range(3)], *[f"rot_{i}" for i in range(4)]]  # fmt: skip


def write(path: Path, names: list[str], rows: np.ndarray, form: str = "binary_little_endian") -> Path:
    """A PLY by hand: `rows` (N, len(names)) as floats."""
    kind = "double" if form == "binary_big_endian" else "float"
    header = ["ply", f"format {form} 1.0", "comment by hand", f"element vertex {len(rows)}"]
    header += [f"property {kind} {name}" for name in names] + ["end_header\n"]
    if form == "ascii":
        body = "\n".join(" ".join(repr(float(v)) for v in row) for row in rows).encode()
    else:
        body = rows.astype({"binary_little_endian": "<f4", "binary_big_endian": ">f8"}[form]).tobytes()
    path.write_bytes("\n".join(header).encode() + body)
    return path


def standard_rows(count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, len(STANDARD))).astype(np.float32)


def test_round_trip(tmp_path: Path) -> None:
    gaussians = make_gaussians(100)
    save_ply(tmp_path / "a.ply", gaussians)
    back = load_ply(tmp_path / "a.ply")
    for name, tensor in gaussians.tensors().items():
        assert torch.equal(tensor, getattr(back, name)), name
    assert [path.name for path in tmp_path.iterdir()] == ["a.ply"]


def test_layout_is_the_standard_one(tmp_path: Path) -> None:
    """Byte for byte where a viewer looks: order of properties, SH channel-major."""
    gaussians = make_gaussians(3)
    save_ply(tmp_path / "a.ply", gaussians)
    head, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n")
    names = [line.split()[-1] for line in head.decode().splitlines() if line.startswith("property float")]
    assert names == [*STANDARD, "head_weight", "audio_gate"]
    table = np.frombuffer(body, "<f4").reshape(3, -1)
    assert table[1, names.index("f_rest_0")] == gaussians.sh[1, 1, 0]
    assert table[1, names.index("f_rest_15")] == gaussians.sh[1, 1, 1]
    assert table[2, names.index("f_rest_44")] == gaussians.sh[2, 15, 2]


@pytest.mark.parametrize("form", ["binary_little_endian", "binary_big_endian", "ascii"])
def test_foreign_file(tmp_path: Path, form: str) -> None:
    rows = standard_rows()
    gaussians = load_ply(write(tmp_path / "a.ply", STANDARD, rows, form))
    torch.testing.assert_close(gaussians.xyz, torch.from_numpy(rows[:, :3]))
    torch.testing.assert_close(gaussians.quats, torch.from_numpy(rows[:, -4:]))
    torch.testing.assert_close(gaussians.sh[:, 2, 1], torch.from_numpy(rows[:, STANDARD.index("f_rest_16")]))
    assert gaussians.head_weight.eq(1).all() and gaussians.audio_gate.eq(1).all()


def test_lower_degree(tmp_path: Path) -> None:
    names = [name for name in STANDARD if not name.startswith("f_rest") or int(name[7:]) < 9]
    rows = np.random.default_rng(1).normal(size=(2, len(names))).astype(np.float32)
    gaussians = load_ply(write(tmp_path / "a.ply", names, rows))
    torch.testing.assert_close(gaussians.sh[:, 1:4, 2], torch.from_numpy(rows[:, names.index("f_rest_6") :][:, :3]))
    assert gaussians.sh[:, 4:].eq(0).all()


@pytest.mark.parametrize("form", ["binary_little_endian", "ascii"])
def test_truncated(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "a.ply", STANDARD, standard_rows(), form)
    whole = path.read_bytes()
    header = whole.index(b"end_header\n") + 11
    for keep in (2, header - 15, header, header + 40, len(whole) - 30):
        path.write_bytes(whole[:keep])
        with pytest.raises(FormatError, match=r"a\.ply"):
            load_ply(path)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"ply\n", b"PK\x03\x04\n", "not a PLY"),
        (b"element vertex 4", b"element vertex 4000000000", "4000000000 Gaussians"),
        (b"element vertex 4", b"element vertex 5000000", "truncated"),
        (b"element vertex 4", b"element vertex 0", "0 Gaussians"),
        (b"element vertex 4", b"element vertex -4", "-4 Gaussians"),
        (b"element vertex 4", b"element face 4", "expected vertex"),
        (b"binary_little_endian 1.0", b"gzip 1.0", "format 'gzip 1.0'"),
        (b"property float rot_3", b"property float rot_9", "no property rot_3"),
        (b"property float opacity", b"property list uchar int opacity", "not a scalar"),
        (b"property float opacity", b"property float x", "occurs twice"),
        (b"property float f_rest_44", b"property float rest_44", "44 f_rest"),
    ],
)
def test_hostile_header(tmp_path: Path, old: bytes, new: bytes, problem: str) -> None:
    path = write(tmp_path / "a.ply", STANDARD, standard_rows())
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(FormatError, match=problem):
        load_ply(path)


@pytest.mark.parametrize(("column", "value"), [("f_rest_7", np.nan), ("scale_1", 1e30), ("x", np.inf)])
def test_bad_value(tmp_path: Path, column: str, value: float) -> None:
    rows = standard_rows()
    rows[2, STANDARD.index(column)] = value
    with pytest.raises(FormatError, match="row 2"):
        load_ply(write(tmp_path / "a.ply", STANDARD, rows))


def test_ascii_that_is_no_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ply", STANDARD, standard_rows(), "ascii")
    path.write_bytes(path.read_bytes() + b"\nx")
    load_ply(path)  # what follows the vertices belongs to other elements
    text = path.read_text().rsplit("\n", 2)[0]
    path.write_text(text + "\n" + "zero " * len(STANDARD))
    with pytest.raises(FormatError, match="row 3 is not numbers"):
        load_ply(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        load_ply(tmp_path / "none.ply")
