"""The pages say what is there: links lead somewhere, files, headings and functions that are named exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "extern").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
ANCHOR = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)#([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
CODE_FILE = re.compile(
    r"`((?:being|deployments|extern|benchmarks|tests|deploy|docs)/[\w./-]*\w\.(?:py|md|json|yaml|js))`"
)
RESULTS = re.compile(r"^\|.*\| \d{4}-\d\d-\d\d \|(.*)\|$", re.MULTILINE)  # the last column of a dated row
ROW = re.compile(r"^\| \d+ \| `([\w.]+)` \| `([\w/.]+\.py)` \|", re.MULTILINE)
MOST_FUNCTIONS = 20  # of the way of one chunk


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them: small letters, no punctuation, hyphens for spaces, numbers for more
    of the same."""
    found: list[str] = []
    for heading in HEADING.findall(FENCED.sub("", page.read_text())):
        text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", heading)
        found.append(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return {slug if (before := found[:at].count(slug)) == 0 else f"{slug}-{before}" for at, slug in enumerate(found)}


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
def test_links_lead_to_headings(page: Path) -> None:
    for target, anchor in ANCHOR.findall(page.read_text()):
        there = page.parent / target if target else page
        assert there.suffix == ".md" and anchor in anchors(there), f"{names(page)} links {target}#{anchor}"


def test_anchors_are_github_s(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# `being fit`: how, *why*\n## A [link](x.md) - here\n```\n# no heading\n```\n## Same\n## Same\n")
    assert anchors(page) == {"being-fit-how-why", "a-link---here", "same", "same-1"}


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_files_that_are_named_exist(page: Path) -> None:
    for path in CODE_FILE.findall(page.read_text()):
        assert (ROOT / path).is_file() or (page.parent / path).is_file(), f"{names(page)} names {path}"


def test_index_lists_every_page() -> None:
    listed = set(LINK.findall((ROOT / "docs" / "index.md").read_text()))
    assert listed == {"../README.md", *(page.name for page in (ROOT / "docs").glob("*.md") if page.name != "index.md")}


def test_readme_names_results_that_are_there() -> None:
    rows = RESULTS.findall((ROOT / "README.md").read_text())
    assert len(rows) >= 10
    for row in rows:
        files = re.findall(r"`([\w.]+\.json)`", row)
        assert files, f"README.md names no result in {row}"
        for name in files:
            assert (ROOT / "benchmarks" / "results" / name).is_file(), f"README.md names {name}"


def test_one_chunk_walks_through_functions_that_are_there() -> None:
    steps = ROW.findall((ROOT / "docs" / "one-chunk.md").read_text())
    assert 10 <= len(steps) <= MOST_FUNCTIONS
    for function, file in steps:
        assert defined(ast.parse((ROOT / file).read_text()), function), f"no {function} in {file}"
