"""The published network, against its recorded outputs where they are at hand, and against its equations in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from being.extern.gaussiantalker import load_network
from being.extern.gaussiantalker.names import PREFIX
from support.published import HEADS, State, random_state, tensors

from being.errors import FormatError, InputError

RECORDING = Path(__file__).parents[4] / "shared" / "fixtures" / "gaussiantalker_parity.pt"
ARGUMENTS = ("xyz", "scales", "rotations", "opacity", "shs", "audio", "eye", "cam")
WIDTH, RESOLUTIONS = 29, (4, 6)


def published(state: State, xyz: np.ndarray, audio: np.ndarray, eye: np.ndarray, cam: np.ndarray) -> list[np.ndarray]:
    """Offsets of the five attributes by the published equations, in float64 and without any shortcut."""

    def affine(name: str, x: np.ndarray) -> np.ndarray:
        return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0)

    def leaky(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, 0.02 * x)

    def convolve(name: str, x: np.ndarray, stride: int) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (1, 1)))
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        steps = range(0, x.shape[1], stride)
        return np.stack([np.einsum("oik,ik->o", weight, padded[:, s : s + 3]) + bias for s in steps], axis=1)

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        off = x - x.mean(axis=-1, keepdims=True)
        return (
            state[f"{name}.gamma"] * off / np.sqrt((off**2).mean(axis=-1, keepdims=True) + 1e-12)
            + state[f"{name}.beta"]
        )

    def bilinear(plane: np.ndarray, column: float, row: float) -> np.ndarray:
        size = plane.shape[-1]
        column, row = (np.clip((v + 1) / 2 * (size - 1), 0, size - 1) for v in (column, row))
        c, r = min(int(column), size - 2), min(int(row), size - 2)
        u, v = column - c, row - r
        upper = (1 - u) * plane[:, r, c] + u * plane[:, r, c + 1]
        lower = (1 - u) * plane[:, r + 1, c] + u * plane[:, r + 1, c + 1]
        return (1 - v) * upper + v * lower

    def place(point: np.ndarray) -> np.ndarray:
        first, second = state["tri_plane.grid.aabb"]
        p = (point - first) / (second - first) * 2 - 1
        levels = []
        for level in range(len(RESOLUTIONS)):
            planes = [state[f"tri_plane.grid.grids.{level}.{i}"][0] for i in range(3)]
            xy, xz, yz = (bilinear(planes[i], p[a], p[b]) for i, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))))
            levels.append(xy * xz * yz)
        return np.concatenate(levels)

    def token(name: str, x: np.ndarray) -> np.ndarray:
        return affine(f"{name}.net.1", np.maximum(affine(f"{name}.net.0", x), 0))

    def speech(windows: np.ndarray) -> np.ndarray:
        codes = []
        for x in windows:
            for index in (0, 2, 4, 6):
                x = leaky(convolve(f"audio_net.encoder_conv.{index}", x, 2))
            codes.append(affine("audio_net.encoder_fc1.2", leaky(affine("audio_net.encoder_fc1.0", x[:, 0]))))
        y = np.stack(codes, axis=1)
        for index in (0, 2, 4, 6, 8):
            y = leaky(convolve(f"audio_att_net.attentionConvNet.{index}", y, 1))
        return softmax(affine("audio_att_net.attentionNet.0", y[0])) @ np.stack(codes)

    j = np.arange(32)
    x0 = np.stack([place(point) for point in xyz])
    results: list[list[np.ndarray]] = []
    for windows, lid, camera in zip(audio, eye, cam, strict=True):
        angle = lid[0] * 10000.0 ** (2 * (j // 2) / 32)
        eye_code = np.where(j % 2 == 0, np.sin(angle), np.cos(angle))
        parts = [token("audio_mlp", speech(windows)), token("eye_mlp", eye_code), token("cam_mlp", camera)]
        tokens = np.stack([*parts, state["null_vector"][0, 0]])
        x = x0
        for layer in range(sum(name.endswith("w_q.weight") for name in state)):
            at = f"transformer.layers.{layer}"
            q, k, v = (
                affine(f"{at}.enc_dec_attention.w_{name}", y).reshape(-1, 2, 32)
                for name, y in (("q", x), ("k", tokens), ("v", tokens))
            )
            attention = softmax(np.einsum("nhd,thd->nht", q, k) / np.sqrt(32))
            heard = np.einsum("nht,thd->nhd", attention, v).reshape(-1, 64)
            h = norm(f"{at}.norm1", x + affine(f"{at}.enc_dec_attention.w_concat", heard))
            fed = affine(f"{at}.ffn.linear2", np.maximum(affine(f"{at}.ffn.linear1", h), 0))
            x = norm(f"{at}.norm2", h + fed)
        relu = np.maximum(x, 0)
        results.append([affine(f"{n}.3", np.maximum(affine(f"{n}.1", relu), 0)) for n in HEADS])
    return [np.stack(part) for part in zip(*results, strict=True)]


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(5)
    shapes = {"xyz": (7, 3), "scales": (7, 3), "rotations": (7, 4), "opacity": (7, 1), "shs": (7, 16, 3)}
    shapes |= {"audio": (2, 8, WIDTH, 16), "eye": (2, 1), "cam": (2, 12)}
    return {name: torch.tensor(rng.normal(size=shape), dtype=torch.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("layers", [1, 2])
def test_equations(inputs: dict[str, torch.Tensor], layers: int) -> None:
    state = random_state(layers)
    with torch.no_grad():
        deformed = load_network(tensors(state))(*(inputs[name] for name in ARGUMENTS))
    exact = {name: value.double().numpy() for name, value in inputs.items()}
    offsets = published(state, *(exact[name] for name in ("xyz", "audio", "eye", "cam")))
    for name, result, offset in zip(ARGUMENTS, deformed, offsets, strict=False):
        expected = exact[name] + offset.reshape(result.shape)
        assert np.abs(offset).max() > 0.1  # the network does move this attribute
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-5, rtol=0, err_msg=name)


@pytest.mark.skipif(not RECORDING.exists(), reason="the recording of the published network is not at hand")
def test_recorded_outputs() -> None:
    recording = torch.load(RECORDING, weights_only=True)
    network = load_network(recording["state_dict"])
    with torch.no_grad():
        deformed = network(*(recording["inputs"][name] for name in ARGUMENTS))
        static = network.network.trunk(network.network.canonical_features(recording["inputs"]["xyz"]))
    for name, result in zip(ARGUMENTS, deformed, strict=False):
        torch.testing.assert_close(result, recording["outputs"][name], atol=1e-4, rtol=0)
    torch.testing.assert_close(static["sh"].view(-1, 16, 3), recording["outputs"]["static_shs"][0], atol=1e-4, rtol=0)
    torch.testing.assert_close(static["log_scales"], recording["outputs"]["static_scales"][0], atol=1e-4, rtol=0)


def test_emotion_changes_nothing(inputs: dict[str, torch.Tensor]) -> None:
    """The imported network has our emotion token, and renders the same whatever that token holds."""
    network = load_network(tensors(random_state(1), prefix=""))
    assert "emotion" in network.network.config.tokens
    arguments = [inputs[name] for name in ARGUMENTS]
    with torch.no_grad():
        before = network(*arguments)
        network.network.emotion_token.out.weight.fill_(9)
        after = network(*arguments)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)


def damaged(name: str, value: torch.Tensor | None) -> dict[str, torch.Tensor]:
    state = tensors(random_state(1))
    if value is None:
        del state[PREFIX + name]
    else:
        state[PREFIX + name] = value
    return state


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("null_vector", None),
        ("tri_plane.grid.grids.1.2", None),
        ("transformer.layers.0.enc_dec_attention.w_q.weight", None),
        ("audio_net.encoder_conv.0.weight", torch.zeros(32, WIDTH)),
        ("pos_deform.3.weight", torch.zeros(3, 127)),
        ("tri_plane.grid.grids.0.1", torch.zeros(1, 32, 4, 5)),
        ("tri_plane.grid.aabb", torch.zeros(3, 3)),
        ("cam_mlp.net.0.weight", torch.zeros(64, 13)),
        ("shs_deform.3.bias", torch.full((48,), float("nan"))),
        ("tri_plane.grid.aabb", torch.full((2, 3), float("inf"))),
        ("null_vector", torch.zeros(1, 1, 64, dtype=torch.int64)),
        ("a_second_network.weight", torch.zeros(3)),
    ],
)
def test_hostile_state_names_the_field(name: str, value: torch.Tensor | None) -> None:
    with pytest.raises(FormatError, match=name.replace(".", r"\.")):
        load_network(damaged(name, value))


def test_state_that_is_no_state() -> None:
    with pytest.raises(FormatError, match="state dict is expected"):
        load_network([1, 2])  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="'epoch' is a int"):
        load_network({"epoch": 3})  # type: ignore[dict-item]
    with pytest.raises(FormatError, match="not supported: aabb: the first corner"):
        load_network(damaged("tri_plane.grid.aabb", torch.tensor([[-1.0, 1, 1], [1, -1, -1]])))


def test_inputs_that_do_not_fit(inputs: dict[str, torch.Tensor]) -> None:
    network = load_network(tensors(random_state(1)))
    for name, value in (
        ("opacity", torch.zeros(6, 1)),
        ("audio", torch.zeros(2, 8, 16, WIDTH)),
        ("cam", torch.zeros(2, 9)),
    ):
        with pytest.raises(InputError, match="cam" if name == "cam" else name):
            network(*((inputs | {name: value})[key] for key in ARGUMENTS))
