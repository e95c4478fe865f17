"""Gaussians refuse what could not be drawn, and name it."""

from __future__ import annotations

import pytest
import torch
from support.model_parts import make_gaussians

from being.errors import FormatError
from being.model import Gaussians


@pytest.mark.parametrize("name", ["xyz", "log_scales", "quats", "opacity_logits", "sh", "head_weight", "audio_gate"])
def test_wrong_shape(name: str) -> None:
    tensors = make_gaussians().tensors()
    tensors[name] = tensors[name][..., None]
    with pytest.raises(FormatError, match=f"{name} has shape"):
        Gaussians(**tensors)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("sh", float("nan"), "not finite"),
        ("xyz", float("inf"), "not finite"),
        ("quats", 0.0, "norm zero"),
        ("log_scales", 90.0, "beyond any real size"),
        ("head_weight", 1.5, "outside"),
        ("audio_gate", -0.1, "outside"),
    ],
)
def test_bad_value_names_the_row(name: str, value: float, problem: str) -> None:
    gaussians = make_gaussians()
    getattr(gaussians, name)[3] = value
    with pytest.raises(FormatError, match=f"{name} of row 3 .*{problem}"):
        gaussians.validate()


def test_none_at_all() -> None:
    with pytest.raises(FormatError, match="none"):
        make_gaussians(0).validate()


def test_select() -> None:
    gaussians = make_gaussians()
    chosen = gaussians.select(torch.tensor([4, 1]))
    assert chosen.count == 2
    assert torch.equal(chosen.sh[0], gaussians.sh[4])
    assert gaussians.validate() is gaussians
