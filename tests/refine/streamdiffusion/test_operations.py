"""Kernels where they work, their twins elsewhere."""

from __future__ import annotations

import sys

import pytest
import torch

from being.kernel_trial import KernelTrial
from being.refine.streamdiffusion import operations as stage_operations
from being.refine.streamdiffusion import twins
from being.refine.streamdiffusion.operations import operations


def test_a_cpu_takes_the_twins() -> None:
    assert operations(torch.device("cpu")) is twins


def test_a_gpu_without_triton_takes_them_too_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in sys.modules if name.startswith("being.refine.streamdiffusion.kernels")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setattr(stage_operations, "_kernels", KernelTrial(stage_operations._tried_out, "slower"))
    assert operations(torch.device("cuda")) is twins
    assert "slower" in caplog.text
