"""How much main memory this process may still take."""

from __future__ import annotations

from pathlib import Path

_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
_UNKNOWN = 8 << 30  # bytes, where nobody tells (macOS, Windows): what a small machine has


def available_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Bytes: what the machine has left, or its container where that is less. Files read from disk count as free."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return _UNKNOWN
    try:
        most, used = (int((cgroup / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return max(0, min(free, most - used + int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return free
