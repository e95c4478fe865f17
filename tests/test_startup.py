"""Starting sooner changes no frame, and leaves the interpreter as it was."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from being.startup import loading, map_library, torch_library


def test_nothing_is_collected_while_loading_and_everything_after() -> None:
    class Knot:
        def __init__(self) -> None:
            self.me = self

    assert gc.isenabled()
    try:
        with loading():
            assert not gc.isenabled()
            kept = Knot()
        assert gc.isenabled() and gc.get_freeze_count() > 0
        assert not any(found is kept for found in gc.get_objects())
    finally:
        gc.unfreeze()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_error_while_loading_turns_the_collector_on_again() -> None:
    try:
        with pytest.raises(KeyError), loading():
            raise KeyError
        assert gc.isenabled()
    finally:
        gc.unfreeze()


@pytest.mark.skipif(torch_library() is None, reason="this PyTorch is loaded by its import alone")
def test_pytorch_imports_and_computes_with_its_library_mapped_before() -> None:
    program = """
import sys
from being.startup import load_numba_beside_torch
load_numba_beside_torch()
assert "torch" not in sys.modules
import torch
print((torch.ones(3, 3) @ torch.ones(3, 3)).sum().item(), open("/proc/self/maps").read().count("libtorch_cpu.so") > 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["27.0", "True"]


def test_a_library_that_cannot_be_mapped_is_left_to_its_import(tmp_path: Path) -> None:
    (tmp_path / "broken.so").write_bytes(b"\x7fELF")
    assert not map_library(tmp_path / "broken.so")
