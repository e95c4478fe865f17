"""A signal ends a block, and every process that was started in it, whatever else the processes want."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from being.commands.stopping import LONGEST_S, descendants

STARTING_S = 60.0
SLACK_S = 1.0  # of an interpreter that exits
pytestmark = pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs /proc to find processes")

# A child and a grandchild that take no SIGTERM and tell their ids.
STUBBORN = "trap '' TERM; (trap '' TERM; echo $BASHPID; sleep 77 & wait; sleep 77) & echo $$; wait; sleep 77"
BLOCK = f"""
import signal, subprocess, time
from being.commands.stopping import stopped_by_signals
with stopped_by_signals(ours=True) as arm:
    child = subprocess.Popen(["bash", "-c", {STUBBORN!r}], stdout=subprocess.PIPE, text=True)
    print(child.stdout.readline() + child.stdout.readline(), "armed", sep="", flush=True)
    MIDDLE
    time.sleep(60)
print("never")
"""


def end(number: int, middle: str = "arm()") -> tuple[int, float, list[int]]:
    """Exit status, seconds it took, and the processes that still live."""
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCK.replace("MIDDLE", middle)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    ids = [int(process.stdout.readline()) for _ in range(2)]
    assert process.stdout.readline() == "armed\n"
    time.sleep(0.2)  # it sleeps, or is in MIDDLE
    assert {one for one, _ in descendants(process.pid)} >= set(ids)
    started = time.monotonic()
    process.send_signal(number)
    status = process.wait(STARTING_S)
    seconds = time.monotonic() - started
    assert process.stdout.read() == ""
    return status, seconds, [one for one in ids if lives(one)]


def lives(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all(number: int) -> None:
    status, seconds, left = end(number)
    assert (status, left) == (128 + number, []) and seconds < LONGEST_S + SLACK_S


def test_a_handler_that_does_not_end_does_not_matter() -> None:
    """As Ray's is while it starts, or a call that does not come back."""
    status, seconds, left = end(signal.SIGTERM, "signal.signal(signal.SIGTERM, lambda *_: time.sleep(60))")
    assert (status, left) == (128 + signal.SIGTERM, []) and LONGEST_S < seconds < LONGEST_S + SLACK_S


def test_the_status_is_the_signals_whatever_a_handler_says() -> None:
    status, _, left = end(signal.SIGTERM, "signal.signal(signal.SIGTERM, lambda *_: exit(15))")
    assert (status, left) == (128 + signal.SIGTERM, [])


def test_what_was_there_before_goes_on_and_the_handlers_are_put_back() -> None:
    script = """
import signal, subprocess
from being.commands.stopping import stopped_by_signals
before = subprocess.Popen(["sleep", "60"])
handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
with stopped_by_signals(ours=True):
    inside = subprocess.Popen(["sleep", "60"])
assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
assert inside.wait(5) == -signal.SIGKILL and before.poll() is None
before.kill()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=STARTING_S)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("middle", ["arm()", "signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))"])
def test_what_was_deployed_with_anothers_ray_is_taken_down(number: int, middle: str) -> None:
    script = f"""
import os, signal, sys, time
from being.commands.stopping import stopped_by_signals
with stopped_by_signals(ours=False) as arm:
    {middle}
    try:
        os.kill(os.getpid(), {number})
        time.sleep(60)
    finally:
        print("taken down")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=STARTING_S)
    assert (done.stdout, done.returncode) == ("taken down\n", 128 + number)
