"""Errors a user can act on: each names the thing, what is wrong with it, and the remedy."""

from __future__ import annotations

from being.extras import install_command

STOPPED = 130  # exit status of a run ended by Ctrl-C, as shells have it


class BeingError(Exception):
    """Base of every error Being raises on purpose.

    Parameters
    ----------
    problem : str
        One line: the file or field, the value found, what was expected.
    remedy : str
        One line: what the user can do about it ("" when there is nothing to do).
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}. {remedy}" if remedy else problem)


class InputError(BeingError):
    """The user's file or value cannot be used (not audio, empty, too long, wrong shape...)."""


class FormatError(BeingError):
    """A stored file (avatar, dataset, checkpoint) is damaged, hostile or of an unknown version."""


class MissingDependencyError(BeingError):
    """A package is not installed; the remedy is the command that installs it.

    Parameters
    ----------
    package : str
    extra : str or None
        The extra of Being that brings it; None for what Being itself depends on.
    purpose : str
        What needs it, as the beginning of a sentence.
    remedy : str or None
        In place of the command, where it is another one.
    """

    def __init__(self, package: str, extra: str | None, purpose: str, remedy: str | None = None) -> None:
        command = f"pip install {package}" if extra is None else install_command(extra)
        super().__init__(f"{purpose} needs the package {package}", remedy or f"Install it: {command}")
