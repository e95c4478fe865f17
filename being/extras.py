"""How the packages of an extra are installed.

By their own names, not by Being's: on PyPI another project is called `being`.
"""

from __future__ import annotations

import re


def install_command(extra: str) -> str:
    """`pip install ...` of what the extra asks for, as this installation says; from a checkout that is not installed
    the command that installs it there."""
    from importlib.metadata import PackageNotFoundError, requires  # takes long to import, and errors are seldom

    try:
        found = requires("being") or []
    except PackageNotFoundError:
        found = []
    marker = re.compile(rf"""\bextra == ['"]{re.escape(extra)}['"]""")
    wanted = [each.partition(";")[0].strip() for each in found if marker.search(each)]
    if not wanted:
        return f"pip install '.[{extra}]' in Being's checkout"
    return " ".join(["pip install", *(f"'{each}'" for each in wanted)])
