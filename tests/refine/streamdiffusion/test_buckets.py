"""Rows into batches."""

from __future__ import annotations

import pytest

from being.refine.streamdiffusion.buckets import batches_of, groups_of


@pytest.mark.parametrize(
    ("count", "batches"),
    [(1, [1]), (2, [2]), (3, [4]), (5, [4, 1]), (6, [8]), (7, [8]), (9, [8, 1]), (16, [8, 8]), (0, [])],
)
def test_little_is_filled_up(count: int, batches: list[int]) -> None:
    assert batches_of(count, (1, 2, 4, 8)) == batches


def test_a_size_that_is_too_large_for_what_is_left_is_filled_up_all_the_same() -> None:
    assert batches_of(3, (8,)) == [8]
    assert batches_of(9, (4, 8)) == [8, 4]


@pytest.mark.parametrize("count", range(1, 40))
@pytest.mark.parametrize("sizes", [(1,), (1, 2, 4, 8), (3, 5), (8, 16)])
def test_every_row_has_its_place(count: int, sizes: tuple[int, ...]) -> None:
    batches = batches_of(count, sizes)
    assert set(batches) <= set(sizes)
    assert sum(batches) >= count > sum(batches[:-1])


def test_rows_of_one_key_come_together_in_their_order() -> None:
    assert groups_of(["b", "a", "b", "c", "a"]) == [("b", [0, 2]), ("a", [1, 4]), ("c", [3])]
