"""The pages say what is there: links lead somewhere, files and functions that are named exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "extern").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
CODE_FILE = re.compile(
    r"`((?:being|deployments|extern|benchmarks|tests|deploy|docs)/[\w./-]*\w\.(?:py|md|json|yaml|js))`"
)
ROW = re.compile(r"^\| \d+ \| `([\w.]+)` \| `([\w/.]+\.py)` \|", re.MULTILINE)
MOST_FUNCTIONS = 20  # of the way of one chunk


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


def defined(tree: ast.Module, dotted: str) -> bool:
    """Whether `function`, `Class` or `Class.method` is defined at the top of a module."""
    body: list[ast.stmt] = tree.body
    for part in dotted.split("."):
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        found = [node for node in body if isinstance(node, kinds) and node.name == part]
        if not found:
            return False
        body = found[-1].body
    return True


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{names(page)} links {target}"


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_files_that_are_named_exist(page: Path) -> None:
    for path in CODE_FILE.findall(page.read_text()):
        assert (ROOT / path).is_file() or (page.parent / path).is_file(), f"{names(page)} names {path}"


def test_index_lists_every_page() -> None:
    listed = set(LINK.findall((ROOT / "docs" / "index.md").read_text()))
    assert listed == {"../README.md", *(page.name for page in (ROOT / "docs").glob("*.md") if page.name != "index.md")}


def test_readme_names_results_that_are_there() -> None:
    rows = re.findall(r"\| \d{4}-\d\d-\d\d \| `([\w.]+)` \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(rows) >= 10
    for name in rows:
        assert (ROOT / "benchmarks" / "results" / name).is_file()


def test_one_chunk_walks_through_functions_that_are_there() -> None:
    steps = ROW.findall((ROOT / "docs" / "one-chunk.md").read_text())
    assert 10 <= len(steps) <= MOST_FUNCTIONS
    for function, file in steps:
        assert defined(ast.parse((ROOT / file).read_text()), function), f"no {function} in {file}"
