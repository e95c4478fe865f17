"""What benchmarks count of the machine: the processors and the GPUs that they may use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from machine import _cpu_times, facts, gpu_readings, visible_gpus


@pytest.mark.parametrize(("named", "gpus"), [(None, None), ("", []), ("-1", []), ("2", ["2"]), ("0, 3", ["0", "3"])])
def test_gpus_are_those_that_cuda_may_see(
    monkeypatch: pytest.MonkeyPatch, named: str | None, gpus: list[str] | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == gpus


def test_gpus_are_read_apart_and_together() -> None:
    one = {"gpu_percent": 25.0, "gpu_memory_mib": 120.0}
    assert gpu_readings("0, 20, 100\n0, 30, 120\n") == one
    both = gpu_readings("0, 20, 100\n1, 40, 300\n0, 30, 120\n1, 6")  # the last line was cut off
    assert both["gpus"] == {"0": one, "1": {"gpu_percent": 40.0, "gpu_memory_mib": 300.0}}
    assert both["gpu_percent"] == 32.5 and both["gpu_memory_mib"] == 300.0
    assert gpu_readings("") == {"gpu_percent": 0.0, "gpu_memory_mib": 0.0}


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="needs /proc")
def test_processors_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = {line.split()[0]: line.split()[1:9] for line in Path("/proc/stat").read_text().splitlines()}
    number = min(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {number})
    assert facts()["cores"] == 1 and facts()["cores_of_machine"] == os.cpu_count()
    since, own, everything = by_name[f"cpu{number}"], _cpu_times(), by_name["cpu"]
    assert all(int(before) <= now for before, now in zip(since, own, strict=True))
    if (os.cpu_count() or 1) > 1:
        assert sum(own) < sum(int(value) for value in everything)
