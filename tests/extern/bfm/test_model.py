"""The face model in both forms against its equation, and files that are no face model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from being.extern.bfm import load_face_model
from scipy.io import savemat
from support.published import face_info

from being.errors import FormatError, InputError


def test_the_equation(tmp_path: Path) -> None:
    info = face_info()
    np.save(tmp_path / "3DMM_info.npy", info, allow_pickle=True)  # type: ignore[arg-type]
    model = load_face_model(tmp_path)
    rng = np.random.default_rng(1)
    identity, mimic = rng.normal(size=100), rng.normal(size=79)
    middle = (info["mu_shape"] + info["mu_exp"]).reshape(-1, 3)
    flat = (middle - middle.mean(axis=0)).reshape(-1)
    for k in range(100):
        flat = flat + identity[k] * info["sig_shape"][k] * info["b_shape"][k]
    for k in range(79):
        flat = flat + mimic[k] * info["sig_exp"][k] * info["b_exp"][k]
    found = model.vertices(identity, mimic)
    np.testing.assert_allclose(found, 1e-5 * flat.reshape(-1, 3), atol=1e-6)
    assert 0.5 < np.ptp(found[:, 1]) < 5  # a head in decimetres
    with pytest.raises(FormatError, match=r"identity coefficients has shape \(80,\)"):
        model.vertices(identity[:80], mimic)


def matlab_form(folder: Path, info: dict[str, np.ndarray]) -> None:
    """The original's form: all points in one file, which of them and the expressions in two others."""
    points = len(info["mu_shape"]) // 3
    chosen = np.arange(points) * 2 + 1  # every second of twice as many points
    whole_mean, whole = np.full((2 * points, 3), 9e9), np.full((199, 2 * points, 3), 9e9)
    whole_mean[chosen], whole[:, chosen] = info["mu_shape"].reshape(-1, 3), info["b_shape"].reshape(199, -1, 3)
    matrices = {"shapeMU": whole_mean.reshape(-1, 1), "shapePC": whole.reshape(199, -1).T.astype(np.float32)}
    savemat(folder / "01_MorphableModel.mat", matrices | {"shapeEV": info["sig_shape"][:, None], "tl": np.ones((3, 3))})
    np.save(folder / "topology_info.npy", {"sub_inds": chosen, "tris": np.zeros((4, 3), int)}, allow_pickle=True)  # type: ignore[arg-type]
    mimics = {"mu_exp": info["mu_exp"], "base_exp": info["b_exp"], "sig_exp": info["sig_exp"]}
    np.save(folder / "exp_info.npy", mimics, allow_pickle=True)  # type: ignore[arg-type]


def test_both_forms_are_one_model(tmp_path: Path) -> None:
    info = face_info(300)
    np.save(tmp_path / "3DMM_info.npy", info, allow_pickle=True)  # type: ignore[arg-type]
    matlab_form(tmp_path, info)
    one, other = load_face_model(tmp_path / "3DMM_info.npy"), load_face_model(tmp_path / "01_MorphableModel.mat")
    np.testing.assert_allclose(other.mean, one.mean, atol=1e-9)
    np.testing.assert_allclose(other.identity, one.identity, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(other.expression, one.expression, atol=1e-12)
    (tmp_path / "exp_info.npy").unlink()
    with pytest.raises(InputError, match=r"exp_info\.npy is missing"):
        load_face_model(tmp_path / "01_MorphableModel.mat")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("echo this must never be said",))


class Terabytes:
    """An array made by calling its class: a claim of memory without a byte behind it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (np.ndarray, ((10**13,),))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"b_shape": Bomb()}, "posix.system|nt.system"),
        ({"b_exp": np.array([Bomb()], object)}, "3DMM_info.npy cannot be read"),
        ({"b_exp": Terabytes()}, "3DMM_info.npy cannot be read"),
        ({"b_shape": np.zeros((199, 5))}, "b_shape has shape"),
        ({"sig_exp": np.zeros(3)}, "sig_exp holds 3 numbers"),
        ({"mu_shape": np.full(2100, np.nan)}, "'mu_shape' is not finite"),
        ({"mu_exp": "text"}, "no array 'mu_exp'"),
        ({"mu_shape": np.zeros(0)}, "mu_shape holds 0 numbers"),
    ],
)
def test_hostile_models_are_refused(
    change: dict[str, Any], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "3DMM_info.npy", face_info() | change, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(FormatError, match=words):
        load_face_model(tmp_path)
    assert "never be said" not in capfd.readouterr().out


def test_files_that_are_something_else(tmp_path: Path) -> None:
    path = tmp_path / "3DMM_info.npy"
    np.save(path, np.zeros(5))
    with pytest.raises(FormatError, match="expected one dictionary"):
        load_face_model(path)
    path.write_bytes(b"MATLAB 5.0 nothing of the kind")
    with pytest.raises(FormatError, match="cannot be read"):
        load_face_model(path)
    matlab_form(tmp_path, face_info(50))
    savemat(tmp_path / "01_MorphableModel.mat", {"shapeMU": np.zeros((6, 1))})
    with pytest.raises(FormatError, match="no matrix 'shapePC'"):
        load_face_model(tmp_path / "01_MorphableModel.mat")
    with pytest.raises(InputError, match=r"faces\.dmi\.unibas\.ch"):
        load_face_model(tmp_path / "nowhere.npy")
