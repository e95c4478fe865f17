"""What the machine did meanwhile: time stolen by its host, CPU time by process of a server that runs on it, its GPUs.

Of the machine only what this process may use counts: its processors (`taskset`, a container's), and the GPUs of
CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from being.processors import usable_processors

TICKS = os.sysconf("SC_CLK_TCK")
PACKAGES = ("numpy", "numba", "torch", "av", "ray", "fastapi", "uvicorn", "websockets")
# Titles of Ray's processes -> the row of the table; the first that fits.
ROWS = (
    (r"ray::.*Proxy", "proxy"),
    (r"ray::.*Controller", "controller"),
    (r"ray::.*Ingress", "ingress"),
    (r"ray::.*\bSessions\b", "sessions"),
    (r"ray::.*AudioEncoder", "encoder"),
    (r"ray::.*Renderer", "renderer"),
    (r"ray::.*Refiner", "refiner"),
    (r"haproxy", "proxy"),
    (r"/raylet/raylet ", "raylet"),
    (r"/gcs/gcs_server ", "gcs"),
    (r"ray::|/ray/(dashboard|_private|autoscaler)/", "rest of ray"),
)

MANY = ("ingress", "client")  # rows of several processes, of which one may be full before the others


def facts() -> dict[str, Any]:
    """Processor, cores and versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _processor(),
        "cores": usable_processors(),
        "cores_of_machine": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": versions,
    }


class GpuWatch:
    """How busy the GPUs were and what memory was taken, by nvidia-smi twice a second; nothing where there are none."""

    def __init__(self) -> None:
        self._process: Any = None
        if (gpus := visible_gpus()) != []:
            chosen = ["-i", ",".join(gpus)] if gpus else []
            query = ["--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms=500"]
            with contextlib.suppress(OSError):
                self._process = subprocess.Popen(["nvidia-smi", *chosen, *query], stdout=subprocess.PIPE, text=True)

    def end(self) -> dict[str, Any]:
        """Mean utilisation (per cent) and most memory (MiB), of all together and, where there are several, of each."""
        if self._process is None:
            return {}
        self._process.terminate()
        return gpu_readings(self._process.communicate()[0])


def visible_gpus() -> list[str] | None:
    """As CUDA_VISIBLE_DEVICES names them; None where it says nothing: all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if named is None else [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]


def gpu_readings(text: str) -> dict[str, Any]:
    """Of lines `index, per cent, MiB` as nvidia-smi prints them; a line that was cut off does not count."""
    lines = [line.split(",") for line in text.splitlines() if re.fullmatch(r"\d+, \d+, \d+", line.strip())]
    by_gpu: dict[str, list[tuple[float, float]]] = {}
    for name, busy, memory in lines:
        by_gpu.setdefault(name.strip(), []).append((float(busy), float(memory)))
    readings = {
        name: {
            "gpu_percent": round(sum(busy for busy, _ in rows) / len(rows), 1),
            "gpu_memory_mib": max(memory for _, memory in rows),
        }
        for name, rows in by_gpu.items()
    }
    if not readings:
        return {"gpu_percent": 0.0, "gpu_memory_mib": 0.0}
    percent = sum(one["gpu_percent"] for one in readings.values()) / len(readings)
    together = {
        "gpu_percent": round(percent, 1),
        "gpu_memory_mib": max(one["gpu_memory_mib"] for one in readings.values()),
    }
    return together | ({"gpus": readings} if len(readings) > 1 else {})


class Meanwhile:
    """Reads /proc now and again later; empty where there is none."""

    def __init__(self, client: int | None = None) -> None:
        self._client = client or os.getpid()
        self._cpu, self._before = _cpu_times(), self._by_process()

    def report(self, seconds: float) -> dict[str, Any]:
        """Since the start: shares of the machine's time in per cent, and CPU milliseconds a second by process."""
        spent = [after - before for before, after in zip(self._cpu, _cpu_times(), strict=False)]
        total = sum(spent[:8]) or 1
        busy_ms = 1000 * (sum(spent[:8]) - spent[3] - spent[4] - spent[7]) / TICKS / seconds if len(spent) > 7 else 0.0
        processes: dict[str, float] = {}
        busiest: dict[str, float] = {}
        for key, (row, used) in self._by_process().items():
            before = self._before.get(key, (row, 0.0))[1]
            own = 1000 * (used - before) / seconds
            processes[row] = processes.get(row, 0.0) + own
            busiest[row] = max(busiest.get(row, 0.0), own)
        # Somebody else's work, by which a measurement suffers as it does by stolen time.
        processes["others"] = max(0.0, busy_ms - sum(processes.values()))
        return {
            "stolen_percent": round(100 * spent[7] / total, 1) if len(spent) > 7 else None,
            "idle_percent": round(100 * (spent[3] + spent[4]) / total, 1) if len(spent) > 7 else None,
            "cpu_ms_per_s": {
                row: round(value, 1) for row, value in sorted(processes.items(), key=lambda item: -item[1])
            },
            "busiest_process_ms_per_s": {row: round(busiest[row], 1) for row in MANY if row in busiest},
        }

    def _by_process(self) -> dict[tuple[int, str], tuple[str, float]]:
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                status = (folder / "stat").read_text()
            except OSError:
                continue
            fields = status[status.rindex(")") + 2 :].split()
            ours = self._client in (int(folder.name), int(fields[1]))  # or its child
            row = "client" if ours else _row(title)
            if row is not None:
                found[int(folder.name), fields[19]] = row, (int(fields[11]) + int(fields[12])) / TICKS
        return found


def _row(title: str) -> str | None:
    return next((row for pattern, row in ROWS if re.search(pattern, title)), None)


def _cpu_times() -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal in clock ticks of the processors this process may use."""
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    except OSError:
        return []
    names = {f"cpu{number}" for number in os.sched_getaffinity(0)} if hasattr(os, "sched_getaffinity") else {"cpu"}
    columns = zip(*([int(value) for value in line[1:9]] for line in lines if line[0] in names), strict=True)
    return [sum(column) for column in columns]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
