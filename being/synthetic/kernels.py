"""How the kernels are compiled: numba, without the GIL, kept on disk between runs.

Numba recompiles a function when its own file changes, but not when a function it calls changes in another file; so
whatever was compiled before the newest edit of this folder is dropped first.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from numba import njit


def drop_stale_kernels(folder: Path) -> int:
    """Delete the cached kernels of a folder that are older than any of its sources; how many were deleted."""
    newest = max((source.stat().st_mtime for source in folder.glob("*.py")), default=0.0)
    stale = [index for index in folder.glob("__pycache__/*.nbi") if index.stat().st_mtime < newest]
    for index in stale:
        index.unlink(missing_ok=True)
    return len(stale)


# Another process may be faster, or the folder read-only: then nothing of ours is cached there.
with suppress(OSError):
    drop_stale_kernels(Path(__file__).parent)

jit = njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
