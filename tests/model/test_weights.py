"""Networks on disk: they come back whole, and damaged files are refused by the tensor's name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.model_parts import conditions, make_network, positions

from being.errors import FormatError
from being.model import load_network, save_network


def test_round_trip(tmp_path: Path) -> None:
    network = make_network()
    network.record(torch.randn(7, 5, 64))
    save_network(tmp_path / "n.safetensors", network)
    back = load_network(tmp_path / "n.safetensors", network.config)
    assert torch.equal(back.recorded_tokens, network.recorded_tokens)
    assert torch.equal(back(positions(), conditions()).sh, network(positions(), conditions()).sh)
    assert not back.training
    assert [path.name for path in tmp_path.iterdir()] == ["n.safetensors"]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("null_token", None, "missing"),
        ("null_token", torch.zeros(63), "shape"),
        ("heads.sh.1.weight", torch.full((128, 64), float("nan")), "finite"),
        ("layers.0.key.bias", torch.zeros(64, dtype=torch.int32), "floating"),
        ("recorded_tokens", torch.zeros(4, 3, 64), "shape"),
        ("pickle", torch.zeros(1), "unknown"),
    ],
)
def test_hostile(tmp_path: Path, name: str, value: torch.Tensor | None, problem: str) -> None:
    network = make_network()
    save_network(tmp_path / "n.safetensors", network)
    state = load_file(tmp_path / "n.safetensors")
    if value is None:
        del state[name]
    else:
        state[name] = value
    save_file(state, tmp_path / "n.safetensors")
    with pytest.raises(FormatError, match=rf"n\.safetensors: tensor {name} .*{problem}"):
        load_network(tmp_path / "n.safetensors", network.config)


def test_pickle_and_missing_file(tmp_path: Path) -> None:
    network = make_network()
    torch.save(network.state_dict(), tmp_path / "n.safetensors")
    for name in ("n.safetensors", "none.safetensors"):
        with pytest.raises(FormatError, match="not a readable safetensors"):
            load_network(tmp_path / name, network.config)
