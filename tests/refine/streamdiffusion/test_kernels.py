"""The kernels against their twins; without a GPU in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="Triton is not installed (it comes with PyTorch's CUDA builds)")

from being.refine.streamdiffusion import kernels, twins
from being.refine.streamdiffusion.twins import Norm

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
GENERATOR = torch.Generator().manual_seed(0)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=GENERATOR).to(DEVICE)


def close(got: torch.Tensor | None, expected: torch.Tensor | None) -> None:
    assert got is not None and expected is not None
    torch.testing.assert_close(got, expected, atol=3e-5, rtol=1e-4)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bias", [0, 1, 2])
def test_sum(residual: bool, bias: int) -> None:
    a = numbers(2, 3, 5, 24)
    r = numbers(2, 3, 5, 24) if residual else None
    b = numbers(24) if bias else None
    close(kernels.add(a, r, b), twins.add(a, r, b))


@pytest.mark.parametrize(
    ("skip", "residual", "bias", "keep"),
    [(0, False, 0, True), (0, True, 1, True), (16, True, 1, True), (16, False, 2, False), (0, True, 2, False)],
)
@pytest.mark.parametrize("size", [(2, 4, 6), (2, 60, 73)], ids=["one kernel", "two kernels"])
def test_group_normalization(size: tuple[int, int, int], skip: int, residual: bool, bias: int, keep: bool) -> None:
    count = size[0]
    a = 2 * numbers(*size, 24) + 1
    r = numbers(*size, 24) if residual else None
    b = None if bias == 0 else numbers(24) if bias == 1 else numbers(count, 40)[:, 8:32]
    s = numbers(*size, skip) if skip else None
    norm = Norm(numbers(24 + skip), numbers(24 + skip), 1e-5, 8)
    for silu in (False, True):
        total, got = kernels.group_norm(a, r, b, s, norm, silu, keep)
        expected, normal = twins.group_norm(a, r, b, s, norm, silu, keep)
        close(got, normal)
        if keep:
            close(total, expected)


@pytest.mark.parametrize("per_group", [10, 20, 30, 40, 60, 80, 1, 3])
def test_groups_that_go_together_are_whole_sectors(per_group: int) -> None:
    from being.refine.streamdiffusion.kernels.norms import _groups_together

    together = _groups_together(per_group, 32)
    assert 32 % together == 0
    assert per_group * together % 16 == 0 and (per_group * together >= 64 or together == 32)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_layer_normalization(residual: bool, keep: bool) -> None:
    a, r, b = numbers(37, 40), numbers(37, 40) if residual else None, numbers(40) if residual else None
    norm = Norm(numbers(40), numbers(40), 1e-5)
    got, expected = (torch.zeros(37, 56, device=DEVICE)[:, 16:] if keep else None for _ in range(2))
    close(kernels.layer_norm(a, r, b, norm, got), twins.layer_norm(a, r, b, norm, expected))
    if keep:
        close(got, expected)


def test_gated_gelu() -> None:
    gated = numbers(21, 48)
    got, expected = (torch.zeros(21, 40, device=DEVICE) for _ in range(2))
    kernels.geglu(gated, got[:, :24])
    twins.geglu(gated, expected[:, :24])
    close(got, expected)


def test_softmax() -> None:
    scores = 3 * numbers(21, 2 * 80)
    close(kernels.softmax(scores, 2, 77), twins.softmax(scores, 2, 77))


def test_phases_are_interleaved() -> None:
    phases = numbers(2, 4, 6, 32)
    assert torch.equal(kernels.interleave(phases), twins.interleave(phases))


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("layout", ["planes", "channels last", "cut"])
def test_pictures_become_channels_last(channels: int, layout: str) -> None:
    planes = numbers(2, channels, 12, 20)
    if layout == "channels last":
        planes = planes.contiguous(memory_format=torch.channels_last)
    if layout == "cut":
        planes = numbers(2, channels, 16, 30)[:, :, 2:14, 4:24]
    for dtype in (torch.float32, torch.float16):
        got, expected = (ops.channels_last(planes, 8, dtype) for ops in (kernels, twins))
        assert torch.equal(got, expected) and got.stride() == expected.stride() and got.dtype is dtype


def test_noise() -> None:
    bank = numbers(3, 1024 * 1024, 4).half()
    maps = torch.tensor(
        [[0.9, 0.1, 3.3, -0.1, 0.9, -700.7, 1e-4, -2e-4, 1, 0.12], [1.1, 0, 2000.3, 0, 1.1, 5.1, 0, 0, 1, 0.2]],
        device=DEVICE,
    )
    slots = torch.tensor([2, 0], device=DEVICE)
    got, expected = (ops.anchored_noise(bank, slots, maps, 64) for ops in (kernels, twins))
    different = (got - expected).abs() > 1e-4  # a pixel on the edge of a texel may fall to either side
    assert different.float().mean() < 0.05 and got.std() > 0.5
