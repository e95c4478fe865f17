"""The network's own promises: folding is exact, gates and emotion mean what they say, everything learns."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from support.model_parts import COUNT, FRAMES, conditions, make_network, positions
from torch import Tensor

from being.errors import InputError
from being.model import Conditions, DeformationNetwork, NetworkConfig, camera_code
from being.model.attention import SpatialAudioAttention, position_code


def unfolded(layer: SpatialAudioAttention, x: Tensor, tokens: Tensor) -> Tensor:
    """Cross-attention as the textbook writes it."""

    def split(y: Tensor) -> Tensor:
        return y.unflatten(-1, (layer.heads, -1)).transpose(-3, -2)

    heard = torch.nn.functional.scaled_dot_product_attention(
        split(layer.query(x)), split(layer.key(tokens)), split(layer.value(tokens))
    )
    h = layer.norm_attention(x + layer.output(heard.transpose(-3, -2).flatten(-2)))
    return layer.norm_ffn(h + layer.ffn_out(torch.relu(layer.ffn_in(h))))


def test_folding_is_exact_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    layer = SpatialAudioAttention(64, 2, 128, dropout=0.0)
    tokens = torch.randn(FRAMES, 5, 64)
    for x in (torch.randn(COUNT, 64), torch.randn(FRAMES, COUNT, 64)):
        gradients = []
        for run in (
            lambda x, t: layer(x, t, torch.ones(1, 5)),
            lambda x, t: unfolded(layer, x.expand(FRAMES, COUNT, 64), t),
        ):
            a, b = x.clone().requires_grad_(), tokens.clone().requires_grad_()
            layer.zero_grad()
            result = run(a, b)
            result.sin().sum().backward()
            gradients.append([result, a.grad, b.grad, *(p.grad.clone() for p in layer.parameters())])  # type: ignore[union-attr]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


def test_gate_zero_is_deaf_and_gate_one_is_published() -> None:
    network, xyz = make_network(), positions()
    features = network.canonical_features(xyz)
    quiet = conditions()
    loud = Conditions(quiet.audio + 3, quiet.eye, quiet.camera)
    gate = torch.linspace(0, 1, COUNT)
    with torch.no_grad():
        open_gate = network.offsets(features, network.condition_tokens(loud), torch.ones(COUNT)).xyz
        torch.testing.assert_close(open_gate, network(xyz, loud).xyz)
        a, b = (network.offsets(features, network.condition_tokens(c), gate).xyz for c in (quiet, loud))
    moved = (a - b).abs().amax(dim=(0, 2))
    assert moved[0] < 1e-6
    assert (moved[1:] > 1e-5).all()
    assert moved[-5:].mean() > 3 * moved[1:6].mean()


def test_emotion_is_silent_until_trained_and_can_be_trained() -> None:
    network, xyz = make_network(emotion_states=("happy", "sad")), positions()
    without = make_network(tokens=("audio", "eye", "camera", "null"))
    without.load_state_dict({k: v for k, v in network.state_dict().items() if k in without.state_dict()} | {
        "recorded_tokens": without.recorded_tokens})  # fmt: skip
    happy = conditions(emotions=2)
    torch.testing.assert_close(network(xyz, happy).sh, without(xyz, conditions()).sh, atol=1e-6, rtol=0)

    def loss() -> Tensor:
        return (network(xyz, happy).xyz - 1).square().mean()

    loss().backward()
    assert network.emotion_weight.grad is not None
    with torch.no_grad():
        at_zero = loss().double()
        network.emotion_weight.fill_(1e-2)
        slope = (loss().double() - at_zero) / 1e-2
        sad = Conditions(happy.audio, happy.eye, happy.camera, 1 - happy.emotion)  # type: ignore[operator]
        assert not torch.equal(network(xyz, happy).xyz, network(xyz, sad).xyz)
    assert network.emotion_weight.grad.item() == pytest.approx(slope.item(), rel=0.1)


def test_emotion_moves_no_more_than_the_gate_lets_it() -> None:
    """A smile must not bend the collar."""
    network, xyz = make_network(emotion_states=("happy",)), positions()
    network.emotion_weight.data.fill_(0.7)
    features, happy = network.canonical_features(xyz), conditions(emotions=1)
    sad = Conditions(happy.audio, happy.eye, happy.camera, 1 - happy.emotion)  # type: ignore[operator]
    gate = torch.linspace(0, 1, COUNT)
    with torch.no_grad():
        a, b = (network.offsets(features, network.condition_tokens(c), gate).xyz for c in (happy, sad))
    moved = (a - b).abs().amax(dim=(0, 2))
    assert moved[0] < 1e-6 and (moved[1:] > 1e-7).all() and moved[-5:].mean() > 3 * moved[1:6].mean()


def test_everything_learns() -> None:
    network, xyz = make_network(emotion_states=("happy",)), positions().requires_grad_()
    network.emotion_weight.data.fill_(0.5)
    offsets = network(xyz, conditions(emotions=1))
    static = network.trunk(network.canonical_features(xyz))
    total = sum(part.square().sum() for part in (*vars(offsets).values(), *static.values()))
    assert isinstance(total, Tensor)
    total.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert xyz.grad is not None


def test_recomputing_changes_no_gradient() -> None:
    network, xyz = make_network(layers=2), positions()
    gradients = []
    for recompute in (False, True):
        network.zero_grad()
        tokens = network.condition_tokens(conditions())
        network.offsets(network.canonical_features(xyz), tokens, recompute=recompute).sh.square().sum().backward()
        gradients.append({n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def test_bfloat16_stays_close() -> None:
    network, xyz = make_network(), positions()
    with torch.no_grad():
        exact = network(xyz, conditions())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            coarse = network(xyz, conditions())
    assert coarse.sh.dtype == torch.float32
    assert (coarse.sh - exact.sh).abs().max() < 0.05 * exact.sh.abs().max()


def test_a_new_network_is_almost_at_rest() -> None:
    torch.manual_seed(0)
    network = DeformationNetwork(NetworkConfig(audio_width=6, plane_resolutions=(4, 8)))
    assert network(positions(), conditions()).xyz.abs().max() < 0.02


def test_position_code_and_camera_code() -> None:
    code = position_code(torch.tensor([[0.3]]))[0]
    assert code[4].item() == pytest.approx(math.sin(0.3 * 10000 ** (4 / 32)), abs=1e-6)
    assert code[5].item() == pytest.approx(math.cos(0.3 * 10000 ** (4 / 32)), abs=1e-6)
    # Published: R' = -(F R)^T with F = diag(-1, 1, 1), T' = (x, -y, -z), where x_cam = diag(1,-1,-1)(R x + t).
    tracked, flip = torch.linalg.qr(torch.randn(3, 3))[0], torch.diag(torch.tensor([1.0, -1, -1]))
    translation = torch.tensor([0.1, 0.2, -8.0])
    pose = torch.cat([flip @ tracked, (flip @ translation)[:, None]], dim=1)
    expected = -(torch.diag(torch.tensor([-1.0, 1, 1])) @ tracked).T
    torch.testing.assert_close(camera_code(pose[None])[0, :9].view(3, 3), expected)
    torch.testing.assert_close(camera_code(pose[None])[0, 9:], torch.tensor([0.1, -0.2, 8.0]))


@pytest.mark.parametrize(
    "sizes",
    [
        {"width": 60},
        {"heads": 3},
        {"tokens": ("audio", "eye")},
        {"tokens": ("audio", "audio", "null")},
        {"aabb": ((0, 0, 0), (1, 1, 1))},
        {"plane_resolutions": (10**6, 8)},
        {"surprise": 1},
    ],
)
def test_config_refuses(sizes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NetworkConfig(audio_width=6, **sizes)  # type: ignore[arg-type]


def test_conditions_of_wrong_shape() -> None:
    network, good = make_network(), conditions()
    with pytest.raises(InputError, match="audio has shape"):
        network.condition_tokens(Conditions(good.audio.transpose(2, 3), good.eye, good.camera))
    with pytest.raises(InputError, match="emotion"):
        network.condition_tokens(conditions(emotions=2))


def test_record_keeps_the_ends() -> None:
    network = make_network()
    tokens = torch.randn(1000, 5, 64)
    network.record(tokens, most=10)
    assert network.recorded_tokens.shape == (10, 5, 64)
    assert torch.equal(network.recorded_tokens[[0, -1]], tokens[[0, -1]])
    with pytest.raises(InputError, match="recorded tokens"):
        network.record(tokens[:, :3])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_matches_cpu() -> None:
    network, xyz, given = make_network(), positions(), conditions()
    with torch.no_grad():
        exact = network(xyz, given)
        on_gpu = Conditions(given.audio.cuda(), given.eye.cuda(), given.camera.cuda())
        found = network.cuda()(xyz.cuda(), on_gpu)
    torch.testing.assert_close(found.sh.cpu(), exact.sh, atol=1e-4, rtol=1e-3)
