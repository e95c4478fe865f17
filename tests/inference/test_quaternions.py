"""Quaternions in vectors are what scipy's Rotation makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from being.inference import quaternions

CLOSE = 1e-12


@pytest.fixture
def turns() -> tuple[Rotation, Rotation]:
    """Any turns; the last pairs hardly differ, not at all, or but for their quaternions' sign."""
    generator = np.random.default_rng(0)
    a = generator.normal(size=(40, 4))
    b = generator.normal(size=(40, 4))
    b[-4:-1] = a[-4:-1] + [[1e-3], [1e-7], [0]] * generator.normal(size=(3, 4))
    b[-1] = -a[-1]
    return Rotation.from_quat(a), Rotation.from_quat(b)


def test_products_and_inverses_are_scipys(turns: tuple[Rotation, Rotation]) -> None:
    a, b = turns
    assert np.allclose(quaternions.product(a.as_quat(), b.as_quat()), (a * b).as_quat(), atol=CLOSE)
    back = quaternions.product(a.as_quat(), quaternions.inverse(a.as_quat()))
    assert np.allclose(back, (0, 0, 0, 1), atol=CLOSE)
    one_for_all = quaternions.product(a.as_quat()[:1], b.as_quat())
    assert np.allclose(one_for_all, (a[0] * b).as_quat(), atol=CLOSE)


def test_rotation_vectors_go_the_short_way(turns: tuple[Rotation, Rotation]) -> None:
    a, b = turns
    between = a * b.inv()
    assert np.allclose(quaternions.to_rotvec(between.as_quat()), between.as_rotvec(), atol=1e-9)
    vectors = np.concatenate([a.as_rotvec(), 1e-9 * b.as_rotvec(), np.zeros((1, 3))])
    assert np.allclose(quaternions.from_rotvec(vectors), Rotation.from_rotvec(vectors).as_quat(), atol=CLOSE)


def test_mixing_is_slerp(turns: tuple[Rotation, Rotation]) -> None:
    a, b = turns
    share = np.linspace(0, 1, len(a))
    wanted = a * Rotation.from_rotvec(share[:, None] * (a.inv() * b).as_rotvec())
    mixed = quaternions.mixed(a.as_quat(), b.as_quat(), share)
    assert np.allclose(np.linalg.norm(mixed, axis=1), 1, atol=1e-9)
    assert (Rotation.from_quat(mixed) * wanted.inv()).magnitude().max() < 1e-7
    assert np.array_equal(quaternions.mixed(a.as_quat(), b.as_quat(), np.zeros(len(a)))[:-1], a.as_quat()[:-1])


def test_matrices_are_scipys(turns: tuple[Rotation, Rotation]) -> None:
    for some in turns:
        assert np.allclose(quaternions.matrices(some.as_quat()), some.as_matrix(), atol=CLOSE)
