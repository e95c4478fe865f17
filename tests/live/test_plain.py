"""Plain values to bytes and back, between versions that do not have the same fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from being.live.plain import pack, unpack


@dataclass(frozen=True, eq=False)
class Inner:
    array: np.ndarray
    name: str = "x"


@dataclass(frozen=True, eq=False)
class Value:
    number: float
    flag: bool
    text: str | None
    inner: Inner | None
    many: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True, eq=False)
class Later:
    """The next version: one field less, one more."""

    number: float
    inner: Inner | None
    added: int = 7


def test_what_was_packed_comes_back() -> None:
    arrays = (np.array([[1.5, np.nan]], np.float32), np.zeros((0, 2), np.int64), np.array(3.0))
    value = unpack(Value, pack(Value(0.1 + 0.2, True, None, Inner(arrays[0]), arrays)))
    assert (value.number, value.flag, value.text) == (0.1 + 0.2, True, None)
    assert value.inner is not None and value.inner.name == "x"
    for one, other in zip((value.inner.array, *value.many), (arrays[0], *arrays), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype and one.shape == other.shape
    value.inner.array[0, 0] = 2.0  # its own memory


def test_the_next_version_reads_it() -> None:
    later = unpack(Later, pack(Value(2.0, False, "t", None)))
    assert (later.number, later.inner, later.added) == (2.0, None, 7)


CUT = pack(Later(1.0, None))[:-3]


@pytest.mark.parametrize("data", [b"", b"abc", b"\xff\xff\xff\x7f{}", CUT, pack(Inner(np.ones(2)))])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        unpack(Value, data)


def test_objects_are_never_made() -> None:
    data = pack(Inner(np.zeros(1))).replace(b"<f8", b"|O8")
    with pytest.raises(ValueError, match="objects"):
        unpack(Inner, data)
