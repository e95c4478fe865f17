"""`au.csv` in both header styles, read, written, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from being.extern.openface import ActionUnits, read_units, write_units

from being.dataset.tracking import closure_of, read_action_units
from being.errors import FormatError, InputError

CLASSIC = "frame, face_id, timestamp, confidence, success, AU25_r, AU45_r, AU45_c\n1, 0, 0.0, 0.98, 1, 0.7, 1.5, 1\n"
PLAIN = CLASSIC.replace(", ", ",")


@pytest.mark.parametrize(("text", "classic"), [(CLASSIC, True), (PLAIN, False), ("\ufeff" + PLAIN, False)])
def test_both_styles(text: str, classic: bool, tmp_path: Path) -> None:
    (tmp_path / "au.csv").write_text(text, "utf-8")
    units = read_units(tmp_path / "au.csv")
    assert units.classic is classic and units.frames == 1
    assert {name: values.tolist() for name, values in units.intensities.items()} == {"AU25_r": [0.7], "AU45_r": [1.5]}


@pytest.mark.parametrize("classic", [True, False])
def test_written_and_read_again(classic: bool, tmp_path: Path) -> None:
    given = ActionUnits({"AU45_r": np.array([0.0, 1.5, 3.0]), "AU01_r": np.array([0.25, 0, 0])}, classic)
    write_units(tmp_path / "au.csv", given, frames=2)
    header = (tmp_path / "au.csv").read_text().splitlines()[0].split(",")
    assert (" AU45_r" if classic else "AU45_r") in header  # the originals look for exactly one of the two
    again = read_units(tmp_path / "au.csv")
    assert again.classic is classic
    np.testing.assert_allclose(again.intensities["AU45_r"], [0, 1.5])
    np.testing.assert_allclose(closure_of(read_action_units(tmp_path / "au.csv")), [0, 0.75])
    with pytest.raises(FormatError, match="3 frames were given for 4"):
        write_units(tmp_path / "au.csv", given, frames=4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frame, AU01_r\n1, 0\n", "no column 'AU45_r'"),
        ("frame, AU45_r\n", "has no row"),
        ("frame, AU45_r\n1, nan\n", "not finite in row 2"),
        ("frame, AU45_r\n1, wide\n", "not all numbers"),
        ("frame, AU45_r\n1\n", "not all numbers"),
        ("", "no column"),
    ],
)
def test_damaged_tables(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "au.csv").write_text(text)
    with pytest.raises(FormatError, match=words):
        read_units(tmp_path / "au.csv")


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"au\.csv is missing.*FeatureExtraction"):
        read_units(tmp_path / "au.csv")
    (tmp_path / "au.csv").write_bytes(b"\xff\xfe\x00 AU45_r")
    with pytest.raises(FormatError, match="not a CSV table"):
        read_units(tmp_path / "au.csv")
