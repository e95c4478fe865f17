"""Devices by name: what is none is told beside what there is."""

from __future__ import annotations

import pytest
import torch

from being.errors import InputError
from being.model.device import check_device_name, device_of, usable_device


@pytest.mark.parametrize("name", ["tpu", "", "cuda:", "cuda:x", "cpu:0", "CUDA", "meta", "cuda\n"])
def test_a_name_that_is_none_is_told_what_there_is(name: str) -> None:
    for ask in (check_device_name, device_of, usable_device):
        with pytest.raises(InputError) as caught:
            ask(name)
        assert caught.value.problem == f"device {name!r} is none of auto, cpu, cuda, cuda:N"


def test_names_of_devices() -> None:
    assert device_of("cpu") == usable_device("cpu") == torch.device("cpu")
    assert device_of("auto").type in ("cpu", "cuda")
    assert device_of("cuda:99") == torch.device("cuda", 99)


def test_a_device_that_is_not_here_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^device 'cuda:99' cannot be used \(.+\)\. Use --device cpu$"):
        usable_device("cuda:99")
