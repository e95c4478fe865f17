"""Ending a Ray of our own: on SIGINT and SIGTERM, within seconds, with every process it started.

`ray.shutdown` ends what it knows of and asks politely; Serve's own farewell takes ten seconds. Workers whose raylet is
gone end by themselves, sooner or later. So the processes below this one are noted before, and what is left is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

PATIENCE_S = 1.5  # for processes that are ending by themselves
LONGEST_S = 4.0  # from the signal to the end, whatever Ray is in the middle of
HEARD_S = 0.2  # until the watching thread knows of a signal
SIGNALS = (signal.SIGINT, signal.SIGTERM)
STATE, PARENT, STARTED = 0, 1, 19  # fields of /proc/PID/stat behind the name

Process = tuple[int, int]  # its id, and when it was started: ids are used again


@contextlib.contextmanager
def stopped_by_signals(*, ours: bool) -> Iterator[Callable[[], None]]:
    """While the block runs, SIGINT and SIGTERM end it; then the Ray that it started ends, too.

    Parameters
    ----------
    ours : the Ray is this process's own. Another one goes on, and the block takes down what it deployed there.

    The block is given a function to call after `ray.init`, which puts a handler of Ray's in the place of ours.
    """
    # No KeyboardInterrupt: to `serve run` it is the request to shut down Serve, with what others have deployed there.
    before = [signal.getsignal(number) for number in SIGNALS]
    others = set(descendants(os.getpid()))
    alarm = _Alarm(others) if ours else None
    try:
        _handle(_exit)
        yield lambda: _handle(_exit)
    except SystemExit as end:
        number = alarm.number() if alarm is not None else None
        if alarm is None and end.code == signal.SIGTERM:
            number = signal.SIGTERM
        if number is not None:  # Ray's own handler, while it starts or is joined, exits with 1 or 15
            raise SystemExit(128 + number) from None
        raise
    finally:
        if alarm is not None:
            _handle(signal.SIG_IGN)
            _stop_ray(others)
            alarm.close()
        for number, previous in zip(SIGNALS, before, strict=True):
            signal.signal(number, previous)


def descendants(root: int) -> list[Process]:
    """All processes below one, where the system tells (Linux); those that have ended are left out."""
    children: dict[int, list[Process]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):  # gone meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[STATE] != "Z":
                children.setdefault(int(fields[PARENT]), []).append((int(stat.parent.name), int(fields[STARTED])))
    found: list[Process] = []
    ahead = [root]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += [process for process, _ in below]
    return found


class _Alarm:
    """Ends this process and all below it `LONGEST_S` after a signal: a call into Ray may keep Python from handling it.

    Parameters
    ----------
    others : processes below this one that are none of its business.
    """

    def __init__(self, others: set[Process]) -> None:
        self.rung: int | None = None
        self._has_rung = threading.Event()
        self._others = others
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._previous = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="being-stop", daemon=True).start()

    def number(self) -> int | None:
        """The signal that came, if one came. A handler may end the block before the watching thread hears of it."""
        self._has_rung.wait(HEARD_S)
        return self.rung

    def _watch(self) -> None:
        while self.rung is None:
            numbers = self._reader.recv(1)
            if not numbers:
                return
            self.rung = numbers[0] if numbers[0] in SIGNALS else None
        self._has_rung.set()
        time.sleep(LONGEST_S)
        _kill(set(descendants(os.getpid())) - self._others)
        os._exit(128 + self.rung)

    def close(self) -> None:
        """Once a signal has come the alarm stays set: an interpreter may hang while it exits, too."""
        signal.set_wakeup_fd(self._previous)
        if self.rung is None:
            self._writer.close()


def _stop_ray(others: set[Process]) -> None:
    """End Ray and all processes below this one but the others."""
    doomed = set(descendants(os.getpid())) - others
    if "ray" in sys.modules:
        import ray

        with contextlib.suppress(Exception):  # of a Ray that was only half there
            ray.shutdown()
    deadline = time.monotonic() + PATIENCE_S
    while alive := [process for process in doomed if _lives(process)]:
        for process, _ in alive:  # what they started since, whose parent may be gone the next moment
            doomed.update(descendants(process))
        if time.monotonic() > deadline:
            _kill(doomed)
            return
        time.sleep(0.05)


def _kill(doomed: Iterable[Process]) -> None:
    for process in doomed:
        with contextlib.suppress(OSError):
            if _lives(process):
                os.kill(process[0], signal.SIGKILL)


def _lives(process: Process) -> bool:
    try:
        fields = Path(f"/proc/{process[0]}/stat").read_text().rpartition(")")[2].split()
        return fields[STATE] != "Z" and int(fields[STARTED]) == process[1]
    except (OSError, IndexError, ValueError):
        return False


def _handle(handler: Any) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    click.echo("being: stopping", err=True)
    sys.exit(128 + number)
