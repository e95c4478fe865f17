"""What the machine did meanwhile: time stolen by its host, CPU time by process of a server that runs on it, its GPU."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

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
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": versions,
    }


class GpuWatch:
    """How busy the GPU was and what memory was taken, by nvidia-smi twice a second; nothing where there is none."""

    def __init__(self) -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms=500"]
        try:
            self._process: Any = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        except OSError:
            self._process = None

    def end(self) -> dict[str, float]:
        """Mean utilisation (per cent) and most memory (MiB)."""
        if self._process is None:
            return {}
        self._process.terminate()
        lines = [line.split(",") for line in self._process.communicate()[0].splitlines() if line.count(",") == 1]
        busy, memory = zip(*((float(a), float(b)) for a, b in lines), strict=True) if lines else ((0.0,), (0.0,))
        return {"gpu_percent": round(sum(busy) / len(busy), 1), "gpu_memory_mib": max(memory)}


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
    """user, nice, system, idle, iowait, irq, softirq, steal in clock ticks of all cores."""
    try:
        return [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return []


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
