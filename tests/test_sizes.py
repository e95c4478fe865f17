"""Files and classes stay small enough to hold one idea each; a larger class says why."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_LINES = 400
MOST_ATTRIBUTES = 15
REASON = re.compile(r"\b(fields|attributes)\b", re.IGNORECASE)
MODULES = sorted(
    file for folder in ("being", "deployments", "extern", "benchmarks") for file in (ROOT / folder).rglob("*.py")
)


def attributes(node: ast.ClassDef) -> set[str]:
    """Fields declared in the body, and what its methods set on `self`."""
    found = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and ast.unparse(one.value) == "self":
            found.add(one.attr)
    return found


@pytest.mark.parametrize("folder", ["being", "deployments", "extern", "benchmarks", "tests"])
def test_no_module_is_long(folder: str) -> None:
    lines = {file: file.read_text().count("\n") for file in (ROOT / folder).rglob("*.py")}
    long = {str(file.relative_to(ROOT)): count for file, count in lines.items() if count > MOST_LINES}
    assert not long


def test_a_large_class_says_why() -> None:
    classes = [
        (file, node)
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and len(attributes(node)) > MOST_ATTRIBUTES
    ]
    large = [
        f"{file.relative_to(ROOT)}: {node.name} has {len(attributes(node))}"
        for file, node in classes
        if not REASON.search(ast.get_docstring(node) or "")
    ]
    assert not large
