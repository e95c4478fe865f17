"""The kernel of all layers against the layers one by one."""

import numpy as np
import pytest

from being.audio.conv_stack import Conv, ConvStack
from being.audio.phones import BLOCKS, CHANNELS, STEM, Phones

LAYERS = (*STEM, *BLOCKS)


@pytest.fixture(scope="module")
def phones() -> Phones:
    return Phones()


def one_by_one(phones: Phones, x: np.ndarray) -> np.ndarray:
    """All layers over inputs (B, n, bands) that were preceded by endless silence."""
    for conv in LAYERS:
        before = np.broadcast_to(phones.rest[conv.name], (len(x), conv.history, conv.inputs))
        x = phones.layer(conv, np.concatenate([before, x], axis=1))
    return x


@pytest.mark.parametrize("pieces", [(40,), (4, 4, 4, 28), (1, 2, 3, 5, 0, 29)])
def test_pieces_give_what_the_layers_give_of_the_whole(phones: Phones, pieces: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((3, sum(pieces), STEM[0].inputs), np.float32)
    state, held = phones.stack.begun(phones.rest)
    states = np.stack([state] * 3)
    given = [phones.stack(states, held, part) for part in np.split(x, np.cumsum(pieces)[:-1], axis=1)]
    expected = one_by_one(phones, x)
    assert expected.shape == (3, 20, CHANNELS)
    np.testing.assert_allclose(np.concatenate(given, axis=1), expected, atol=2e-5)


def test_streams_do_not_hear_each_other(phones: Phones) -> None:
    x = np.random.default_rng(1).random((4, 8, STEM[0].inputs), np.float32)
    state, held = phones.stack.begun(phones.rest)
    together = phones.stack(np.stack([state] * 4), held.copy(), x)
    for stream in range(4):
        alone = phones.stack(state[None].copy(), held.copy(), x[stream : stream + 1])
        np.testing.assert_allclose(together[stream], alone[0], atol=2e-5)


def test_a_layer_with_a_stride_keeps_what_has_no_partner_yet() -> None:
    conv = Conv("pairs", inputs=1, outputs=1, kernel=2, left=0, stride=2)
    tensors = {"pairs.weight": np.ones((2, 1, 1), np.float32), "pairs.bias": np.zeros(1, np.float32)}
    stack = ConvStack([conv], tensors)
    state, held = stack.begun({"pairs": np.zeros((1, 1), np.float32)})
    states = state[None]
    sums = [
        stack(states, held, np.array([[[value]]], np.float32)).reshape(-1).tolist() for value in (1.0, 2.0, 3.0, 4.0)
    ]
    assert sums == [[1.0], [], [5.0], []], "0 + 1, then 2 + 3; 4 waits"
    assert held.tolist() == [1]
