"""What installs an extra names packages, never Being itself: on PyPI another project has that name."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from being.errors import MissingDependencyError
from being.extras import install_command

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "extern").rglob("*.md")]
CODE = [path for part in ("being", "deployments", "extern", "benchmarks") for path in (ROOT / part).rglob("*.py")]


def test_an_extra_is_installed_by_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["numpy>=1", "gsplat==1.5.3; extra == 'gpu'", 'a[b]>=2,<3; python_version > "3" and extra == "train"']
    monkeypatch.setattr(metadata, "requires", lambda name: asked)
    assert install_command("gpu") == "pip install 'gsplat==1.5.3'"
    assert install_command("train") == "pip install 'a[b]>=2,<3'"


def test_each_extra_of_this_installation_is_known() -> None:
    for extra in ("clone", "speech", "gpu", "refine", "train"):
        assert re.fullmatch(r"pip install ('[\w.\[\]-]+[=<>][^']*' ?)+", install_command(extra)), extra


def test_without_an_installation_the_checkout_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    remedy = MissingDependencyError("gsplat", "gpu", "Drawing").remedy
    assert remedy == "Install it: pip install '.[gpu]' in Being's checkout"


@pytest.mark.parametrize("path", [*PAGES, *CODE], ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_is_told_to_install_being_by_name(path: Path) -> None:
    named = re.findall(r"pip install (?:--?[\w-]+ )*['\"]?being\b.*", path.read_text("utf-8"))
    assert not named
