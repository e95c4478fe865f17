"""Starting sooner: a command that renders loads for longer than it draws a sentence.

Two things cost a quarter of the loading and can be had for nothing. Python's garbage collector goes through all that
was loaded again and again, and none of it is garbage. And PyTorch's library takes long to map, which needs no
interpreter.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def loading() -> Iterator[None]:
    """Nothing is collected inside the block, and what is there at its end is never looked through again.

    Without effect where the collector is off already.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load_numba_beside_torch() -> None:
    """Import numba and have it fill its tables, while a thread maps the library that `import torch` will ask for.

    The loader of libraries serves one thread at a time: numba's own are mapped before.
    """
    from numba.core.registry import cpu_target

    library = torch_library()
    if library is not None:
        threading.Thread(target=map_library, args=(library,), name="being-torch").start()
    cpu_target.target_context.refresh()  # what the first kernel would do


def torch_library() -> Path | None:
    """Where most of PyTorch lies.

    None where PyTorch must have the order of things to itself: away from Linux, and where it was built for GPUs, whose
    libraries it looks for before.
    """
    package = importlib.util.find_spec("torch")
    if sys.platform != "linux" or package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "lib"
    library = folder / "libtorch_cpu.so"
    alone = not any((folder / f"libtorch_{kind}.so").exists() for kind in ("cuda", "hip", "xpu"))
    return library if library.is_file() and alone else None


def map_library(path: Path) -> bool:
    """Load a shared library without holding the interpreter's lock; False where that fails, which its import will say.

    Python holds its lock while it loads a library itself, but not while it calls a C function, dlopen among them.
    """
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    return bool(dlopen(os.fsencode(path), os.RTLD_NOW | os.RTLD_LOCAL))
