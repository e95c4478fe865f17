"""What is installed: every package of the tree, every file they read, and no extra that no code uses."""

from __future__ import annotations

import ast
import os
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


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a build reads, in a folder of its own: setuptools leaves files where it builds."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in HOUSES:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return source


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, unpacked as pip does."""
    if int(version("setuptools").partition(".")[0]) < 77:
        pytest.skip("needs setuptools 77")
    wheels, installed = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    command = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(wheels), str(source)]
    subprocess.run([sys.executable, "-m", *command], check=True, timeout=300)
    (wheel,) = wheels.glob("being-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    return installed


def test_a_wheel_holds_every_file(source: Path, installed: Path) -> None:
    files = (file.relative_to(installed) for file in installed.rglob("*") if file.is_file())
    inside = {file.as_posix() for file in files if not file.parts[0].endswith(".dist-info")}
    wanted = set()
    for folder, package in HOUSES.items():
        for file in (source / folder).rglob("*"):
            if file.is_file() and file.name != "README.md":  # the bridges' pages are for the reader of the repository
                wanted.add(f"{package.replace('.', '/')}/{file.relative_to(source / folder).as_posix()}")
    assert inside == wanted


@pytest.mark.parametrize("where", ["installed", "checkout"])
def test_the_graph_and_the_bridges_are_found(installed: Path, tmp_path: Path, where: str) -> None:
    """From any folder, and with nothing of Being at the top of site-packages but `being`."""
    modules = "being.deployments.settings", "being.extern.untrusted"
    code = f"import {', '.join(modules)}; print({', '.join(f'{module}.__file__' for module in modules)})"
    folder = installed if where == "installed" else ROOT
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert all(Path(file).is_relative_to(folder) for file in said.stdout.split())
    tops = {path.name for path in installed.iterdir() if path.is_dir()}
    assert tops == {"being", *(top for top in tops if top.endswith(".dist-info"))}


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


def test_extras_that_are_named_exist() -> None:
    """In errors, whose remedy is a command to copy, and in pages."""
    extras = set(PROJECT["project"]["optional-dependencies"])
    code = [file for folder in HOUSES for file in (ROOT / folder).rglob("*.py")]
    for file in [*code, ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "extern").rglob("*.md")]:
        text = file.read_text()
        named = re.findall(r"being\[(\w+)\]", text)
        if file.suffix == ".py":
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
            errors = [call for call in calls if ast.unparse(call.func) == "MissingDependencyError"]
            named += [call.args[1].value for call in errors if isinstance(call.args[1], ast.Constant)]
        assert set(named) - {None} <= extras, f"{file.relative_to(ROOT)} names {named}"


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
