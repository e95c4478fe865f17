"""The kernel cache is used, and notices an edit of a function that another file's kernel calls."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from being.raster.cpu import jit as numba_jit

CALLEE = """
from numba import njit

@njit
def step():
    return {value}
"""
CALLER = """
from being.raster.cpu.jit import CHECKED_MATH, kernel
from callee import step

@kernel(CHECKED_MATH)
def run():
    return step()
"""


def test_cache_is_used_and_dropped_when_a_callee_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "caller.py").write_text(CALLER)

    def run_afresh(value: int) -> tuple[int, int]:
        """Write a callee that returns `value` and run the caller as a new process would: result, cache hits."""
        (tmp_path / "callee.py").write_text(CALLEE.format(value=value))
        importlib.invalidate_caches()
        numba_jit._digest.cache_clear()
        for name in ("caller", "callee"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        run = importlib.import_module("caller").run
        return run(), sum(run.stats.cache_hits.values())

    assert run_afresh(1) == (1, 0)
    assert run_afresh(1) == (1, 1)
    assert run_afresh(2) == (2, 0)
