"""Kernels are made once for a device, and left out where they do not work."""

from __future__ import annotations

import pytest
import torch

from being.kernel_trial import KernelTrial

GPU = torch.device("cuda", 0)


class Making:
    """Fails as told, then makes a name; counts how often it was asked."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.asked = list(errors), 0

    def __call__(self, device: torch.device) -> str:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return f"kernels of {device}"


def test_they_are_made_once_for_each_device() -> None:
    making = Making()
    trial = KernelTrial(making, "slower")
    assert [trial.on(GPU) for _ in range(2)] == ["kernels of cuda:0"] * 2 and making.asked == 1
    assert trial.on(torch.device("cuda", 1)) == "kernels of cuda:1"


def test_a_cpu_has_none_and_nothing_is_tried() -> None:
    making = Making()
    assert KernelTrial(making, "slower").on(torch.device("cpu")) is None
    assert making.asked == 0


def test_where_they_do_not_work_they_are_left_out_for_good_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    making = Making(RuntimeError("no C compiler"))
    trial = KernelTrial(making, "faces are cut out slower")
    assert trial.on(GPU) is None and trial.on(GPU) is None and making.asked == 1
    assert [record.getMessage() for record in caplog.records] == [
        "faces are cut out slower: RuntimeError (no C compiler)"
    ]


def test_memory_that_is_short_says_nothing_of_the_kernels(caplog: pytest.LogCaptureFixture) -> None:
    trial = KernelTrial(Making(torch.OutOfMemoryError()), "slower")
    with pytest.raises(torch.OutOfMemoryError):
        trial.on(GPU)
    assert trial.on(GPU) == "kernels of cuda:0"
    assert not caplog.records
