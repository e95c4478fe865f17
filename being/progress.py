"""Progress of a long job: a bar for a person at a terminal, JSON lines for everything else."""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Protocol, TextIO

LINE_EVERY_S = 2.0  # JSON lines are not written more often than this within a part


class Progress(Protocol):
    """What a job tells: the part it is in, how far (0..1), and a few numbers."""

    def part(self, name: str) -> None:
        """A new part begins."""
        ...

    def update(self, fraction: float, **numbers: float) -> None:
        """`fraction` of the part is over."""
        ...

    def note(self, text: str, **numbers: Any) -> None:
        """Something worth a line of its own."""
        ...


class Silent:
    """Tells nobody."""

    def part(self, name: str) -> None:
        """Ignore."""

    def update(self, fraction: float, **numbers: float) -> None:
        """Ignore."""

    def note(self, text: str, **numbers: Any) -> None:
        """Ignore."""


class JsonLines:
    """One JSON object a line: {"t": seconds, "part": ..., "fraction": ..., numbers}, and `always` in every line."""

    def __init__(self, stream: TextIO | None = None, **always: Any) -> None:
        self._stream = stream or sys.stderr
        self._always = always
        self._start = time.monotonic()
        self._part = ""
        self._last = -LINE_EVERY_S

    def part(self, name: str) -> None:
        """A new part begins."""
        self._part = name
        self._write(fraction=0.0)

    def update(self, fraction: float, **numbers: float) -> None:
        """`fraction` of the part is over."""
        now = time.monotonic() - self._start
        if fraction >= 1 or now - self._last >= LINE_EVERY_S:
            self._write(fraction=round(fraction, 4), **numbers)

    def note(self, text: str, **numbers: Any) -> None:
        """Something worth a line of its own."""
        self._write(note=text, **numbers)

    def _write(self, **values: Any) -> None:
        self._last = time.monotonic() - self._start
        rounded = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in values.items()}
        line = {"t": round(self._last, 1), **self._always, "part": self._part, **rounded}
        print(json.dumps(line), file=self._stream, flush=True)


class Bar:
    """A bar for a terminal; use as a context manager."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=self._console,
        )
        self._task: Any = None
        self._name = ""

    def beside(self, name: str) -> Bar:
        """Another bar of the same display, its parts named after `name`."""
        twin = copy.copy(self)
        twin._task, twin._name = None, f"{name} "
        return twin

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def part(self, name: str) -> None:
        """A new part begins."""
        if self._task is not None:
            self._bar.update(self._task, completed=1.0)
        self._task = self._bar.add_task(self._name + name, total=1.0, numbers="")

    def update(self, fraction: float, **numbers: float) -> None:
        """`fraction` of the part is over."""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self._bar.update(self._task, completed=fraction, numbers=shown)

    def note(self, text: str, **numbers: Any) -> None:
        """Something worth a line of its own."""
        self._console.print(self._name + text, highlight=False)


def show_progress() -> AbstractContextManager[Progress]:
    """A bar on a terminal, JSON lines otherwise, both on stderr."""
    return Bar() if sys.stderr.isatty() else nullcontext(JsonLines())


@contextmanager
def show_each(names: Sequence[str]) -> Iterator[dict[str, Progress]]:
    """Like `show_progress`, for several jobs at once: each its own bar, or lines that say whose they are."""
    if len(names) == 1:
        with show_progress() as progress:
            yield {names[0]: progress}
    elif sys.stderr.isatty():
        with Bar() as bar:
            yield {name: bar.beside(name) for name in names}
    else:
        yield {name: JsonLines(person=name) for name in names}
