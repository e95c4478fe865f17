"""NVIDIA's Multi-Process Service while a server runs: renderers that share a GPU draw side by side, not in turn.

The service is a daemon of this user's. Programs find it by CUDA_MPS_PIPE_DIRECTORY, so that it concerns none but the
server. A program that breaks its CUDA context takes the others' on that GPU along: that is its price.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

CONTROL = "nvidia-cuda-mps-control"
PATIENCE_S = 20.0
ENDING_S = 2.0  # that its end is waited for
# A context by way of the service, by the driver alone.
PROBE = """
import ctypes, sys
cuda, device, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_void_p()
failed = cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0)
failed = failed or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
sys.exit(bool(failed))
"""
# Waits for its input to end, then ends the service, which may be starting still, and removes its folder.
GUARD = """
import shutil, subprocess, sys, time
control, folder = sys.argv[1:]
sys.stdin.buffer.read()
try:
    for _ in range(6):
        if not subprocess.run([control], input=b"quit\\n", capture_output=True, timeout=60).returncode:
            break
        time.sleep(0.5)
finally:
    shutil.rmtree(folder, ignore_errors=True)
"""


class MpsUnavailable(Exception):
    """Why there is none."""


def mps_is_here() -> bool:
    """Whether the service is installed; it comes with the driver on Linux."""
    return shutil.which(CONTROL) is not None


def mps_runs() -> bool:
    """Whether programs find one that runs already."""
    if not mps_is_here():
        return False
    try:
        asked = subprocess.run([CONTROL], input=b"get_server_list\n", capture_output=True, timeout=PATIENCE_S)
    except (OSError, subprocess.SubprocessError):
        return False
    return asked.returncode == 0


@contextlib.contextmanager
def multi_process_service() -> Iterator[dict[str, str]]:
    """Runs while the block does, and until those have ended who use it by then; gives the environment of its users.

    However this process ends, killed or while the service starts: a process of its own then ends that, too.

    Raises
    ------
    MpsUnavailable
        It is not installed, does not start, or gives no context.
    """
    if not mps_is_here():
        raise MpsUnavailable("it is not installed here")
    folder = Path(tempfile.mkdtemp(prefix="being-mps-"))
    environment = {f"CUDA_MPS_{name}_DIRECTORY": str(folder / name.lower()) for name in ("PIPE", "LOG")}
    # Its input ends with this process. A session of its own: Ctrl-C is for those in the foreground.
    guard = subprocess.Popen(
        [sys.executable, "-c", GUARD, CONTROL, str(folder)],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert guard.stdin is not None
    try:
        for path in environment.values():
            Path(path).mkdir()
        _start(environment)
        if not _gives_a_context(environment):
            log = Path(environment["CUDA_MPS_LOG_DIRECTORY"]) / "server.log"
            said = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
            raise MpsUnavailable(f"it gives no context{': ' + said[-1] if said else ''}")
        yield environment
    finally:
        guard.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            guard.wait(ENDING_S)


def _start(environment: Mapping[str, str]) -> None:
    # It may see all GPUs: its users then name them as they would without it.
    own = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    try:
        done = subprocess.run(
            [CONTROL, "-d"], env={**own, **environment}, capture_output=True, text=True, timeout=PATIENCE_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise MpsUnavailable(f"{CONTROL} -d: {error}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise MpsUnavailable(f"{CONTROL} -d ended with {done.returncode}{': ' + said if said else ''}")


def _gives_a_context(environment: Mapping[str, str]) -> bool:
    try:
        probe = subprocess.run(
            [sys.executable, "-c", PROBE],
            env={**os.environ, **environment},
            capture_output=True,
            timeout=2 * PATIENCE_S,
        )
    except subprocess.SubprocessError:
        return False
    return probe.returncode == 0
