"""The walls of the house (`[tool.importlinter]` in pyproject.toml), linted over the tree as it is installed.

What a module of the wire types imports is tried as well: Python runs the `__init__` of every folder on the way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("importlinter", reason="needs being[dev]")

ROOT = Path(__file__).parents[1]
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]


def contract(id: str) -> dict[str, Any]:
    return next(one for one in CONTRACTS if one["id"] == id)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it, the Serve graph and the bridges inside: what an installation has."""
    folder = tmp_path_factory.mktemp("house")
    code = shutil.ignore_patterns("__pycache__", "page", "avatars", "weights")
    shutil.copytree(ROOT / "being", folder / "being", ignore=code)
    for part in ("deployments", "extern"):
        shutil.copytree(ROOT / part, folder / "being" / part, ignore=code)
    return folder


@pytest.mark.parametrize("id", [one["id"] for one in CONTRACTS])
def test_contract_is_kept(house: Path, id: str) -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    options = [str(ROOT / "pyproject.toml"), "--contract", id, "--cache-dir", str(house / "cache"), "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(house), "NO_COLOR": "1"}
    said = subprocess.run(command + options, cwd=house, env=environment, capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "1 kept, 0 broken" in said.stdout


def test_every_place_that_may_import_is_there(house: Path) -> None:
    """A name that left the house would stay on a list for good."""
    named = {
        module
        for one in CONTRACTS
        for key in ("allowed_importers", "source_modules", "forbidden_modules")
        for module in one.get(key, [])
        if module.startswith("being.")
    }
    for module in named:
        path = house / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), f"pyproject.toml names {module}"


def test_a_circle_would_be_found(house: Path, tmp_path: Path) -> None:
    """The linter sees the Serve graph, and an import inside a function."""
    copy = tmp_path / "house"
    shutil.copytree(house, copy, ignore=shutil.ignore_patterns("cache"))
    errors = copy / "being" / "errors.py"
    errors.write_text(errors.read_text() + "\n\ndef late():\n    import being.deployments.settings\n")
    with pytest.raises(AssertionError, match=r"being\.errors -> being\.deployments\.settings"):
        test_contract_is_kept(copy, "layers")


@pytest.mark.parametrize("module", contract("wire-types")["source_modules"])
def test_wire_types_are_imported_without_torch(module: str) -> None:
    heavy = contract("wire-types")["forbidden_modules"]
    code = f"import sys, {module}; print(*sorted(set({heavy}) & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""


def test_the_directory_of_sessions_is_a_small_process() -> None:
    """Ray and Serve take 180 MB; what makes pictures would take 300 more."""
    code = (
        "import sys, being.deployments.sessions; print(*sorted({'torch', 'numba', 'scipy', 'av'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""
