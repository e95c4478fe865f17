"""How the CPU kernels are compiled: one decorator, a cache that notices every edit, an atomic counter, a fast 2^x."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np import arrayobj

# Without NaN and infinity the comparisons of an inner loop become plain selects, and it runs eight pixels at a time.
FINITE_MATH = {"reassoc", "nsz", "arcp", "contract", "afn", "nnan", "ninf"}
# Where data comes in, NaN must compare as NaN: kernels that cull bad values use these.
CHECKED_MATH = {"nsz", "arcp", "contract"}


def kernel(fastmath: set[str], *, allocates: bool = True) -> Callable[[Callable], Any]:
    """Return a decorator that compiles a function for many threads (no GIL, no bounds checks) and caches the code.

    Division follows numpy (`error_model`): Python's check for zero would keep loops from being vectorised.

    A kernel that says it allocates no array is compiled without numba's counting of references, which counts the
    arguments of every inlined function by atomic calls: inside a loop they cost as much as the work, and more where
    two threads count the same array.
    """

    def decorate(function: Callable) -> Any:
        # A mapping, for numba's type hints do not know `_nrt`.
        options: dict[str, Any] = {"fastmath": fastmath, "_nrt": allocates}
        dispatcher: Any = njit(nogil=True, error_model="numpy", boundscheck=False, **options)(function)
        try:
            dispatcher.enable_caching()
        except RuntimeError:  # No folder to cache in can be written: compile once a process.
            return dispatcher
        # numba drops cached code when the function's own file is edited, but not when a function or a constant that it
        # took from another file is. Stamp the cache with the content of all files that kernels are written in.
        cache_file = getattr(dispatcher._cache, "_cache_file", None)
        if cache_file is not None:
            folders = {Path(inspect.getfile(function)).resolve().parent, Path(__file__).resolve().parent}
            cache_file._source_stamp = "".join(sorted(map(_digest, folders)))
        return dispatcher

    return decorate


@lru_cache
def _digest(folder: Path) -> str:
    """Return a hash of the Python files of a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


@intrinsic
def fetch_add(typing_context: Any, counter: Any, amount: Any) -> Any:
    """Add `amount` to `counter[0]` (an int64 array) as one atomic step; return the value before.

    It is the whole work queue: threads that run the same kernel draw tile numbers from it until none are left.
    """
    if not isinstance(counter, types.Array) or counter.dtype != types.int64:
        raise TypingError("fetch_add counts in an int64 array")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = arrayobj.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, arguments[1], "monotonic")

    return types.int64(counter, types.int64), generate


# Minimax fit of 2^q on [-1.05, 0], relative error 1.0e-7.
_EXP2 = tuple(map(np.float32, (0.9999999, 0.693140922, 0.240160994, 0.0552467561, 0.00914908602, 0.00092225448)))
_E0, _E1, _E2, _E3, _E4, _E5 = _EXP2
_LOWEST = np.float32(-8.4)
_EIGHTH = np.float32(0.125)


@njit(inline="always", fastmath=FINITE_MATH, error_model="numpy")
def exp2_above_min_alpha(power: np.float32) -> np.float32:
    """Return 2^power for power in [-8.4, 0], below it 2^-8.4, which is under 1/255; relative error 2e-6.

    2^p = (2^(p/8))^8: a polynomial and three squarings, which vectorise where a library call would not.
    """
    q = max(power, _LOWEST) * _EIGHTH
    root = _E0 + q * (_E1 + q * (_E2 + q * (_E3 + q * (_E4 + q * _E5))))
    square = root * root
    fourth = square * square
    return fourth * fourth


@njit(inline="always", error_model="numpy")
def floor(value: np.float32) -> np.int64:
    """Return the largest integer not above a value of magnitude under 2^62.

    math.floor and math.ceil are calls into the C library here, and cost a kernel its registers.
    """
    whole = np.int64(value)  # towards zero
    return whole - np.int64(np.float32(whole) > value)


@njit(inline="always", error_model="numpy")
def ceiling(value: np.float32) -> np.int64:
    """Return the smallest integer not below a value of magnitude under 2^62."""
    whole = np.int64(value)
    return whole + np.int64(np.float32(whole) < value)
