"""What is installed: every package of the tree, every file they read, and no extra that no code uses."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOUSES = {"being": "being", "deployments": "being.deployments", "extern": "being.extern"}  # folder -> package


def packages() -> set[str]:
    """Dotted names of all folders with an __init__.py."""
    found = set()
    for folder, package in HOUSES.items():
        for file in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([package, *file.parent.relative_to(ROOT / folder).parts]))
    return found


def test_every_package_is_listed() -> None:
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(packages())
    assert len(listed) == len(set(listed))


def test_every_folder_of_code_is_a_package() -> None:
    for folder in HOUSES:
        for file in (ROOT / folder).rglob("*.py"):
            assert (file.parent / "__init__.py").is_file(), f"{file.parent.relative_to(ROOT)} has no __init__.py"


def test_a_wheel_holds_every_file(tmp_path: Path) -> None:
    if int(version("setuptools").partition(".")[0]) < 77:
        pytest.skip("needs setuptools 77")
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in HOUSES:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(wheels), str(source)]
    subprocess.run([sys.executable, "-m", *command], check=True, timeout=300)
    (wheel,) = wheels.glob("being-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = set()
    for folder, package in HOUSES.items():
        for file in (source / folder).rglob("*"):
            if file.is_file() and file.name != "README.md":  # the bridges' pages are for the reader of the repository
                wanted.add(f"{package.replace('.', '/')}/{file.relative_to(source / folder).as_posix()}")
    assert inside == wanted


def test_an_extra_exists_only_where_code_uses_it() -> None:
    """Each requirement of an extra is imported somewhere, or named as the package that another one loads."""
    files = [file for folder in HOUSES for file in (ROOT / folder).rglob("*.py")]
    text = "\n".join(file.read_text() for file in files)
    imported = {name.partition(".")[0] for name in _imported(text)}
    for extra, requirements in PROJECT["project"]["optional-dependencies"].items():
        if extra != "dev":
            names = {Requirement(text).name for text in requirements}
            assert names & imported, f"being[{extra}] installs {sorted(names)}, which no code imports"


def _imported(text: str) -> set[str]:
    return set(re.findall(r"^\s*(?:import|from)\s+([\w.]+)", text, re.MULTILINE))


def test_console_script_is_there() -> None:
    module, _, function = PROJECT["project"]["scripts"]["being"].partition(":")
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_images_copy_what_the_build_reads(name: str) -> None:
    text = (ROOT / name).read_text()
    for folder in HOUSES:
        assert re.search(rf"^COPY {folder} {folder}$", text, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not {*HOUSES, "pyproject.toml", "README.md", "LICENSE"} & set(ignored)
