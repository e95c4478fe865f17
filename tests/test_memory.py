"""What memory is left, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

from being.memory import available_memory


def test_the_less_of_machine_and_container_counts(tmp_path: Path) -> None:
    info, group = tmp_path / "meminfo", tmp_path / "group"
    group.mkdir()
    info.write_text("MemTotal:  16000000 kB\nMemAvailable:    8000000 kB\n")
    assert available_memory(info, group) == 8_000_000 * 1024  # no group
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("1000\n")
    (group / "memory.stat").write_text("anon 400\ninactive_file 500\nactive_file 100\n")
    assert available_memory(info, group) == 8_000_000 * 1024  # no limit
    (group / "memory.max").write_text("3000\n")
    assert available_memory(info, group) == 2600  # what was read from files can be let go of
    assert available_memory(tmp_path / "none", group) > 0
    assert available_memory() > 0
