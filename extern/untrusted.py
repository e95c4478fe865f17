"""Files of other systems, opened as if a stranger had sent them: no code runs, nothing larger than the file is made.

`.pt`, `.pth` and `.npy` can carry pickled code; a few hundred bytes of them can also claim terabytes. Each reader here
looks at what a file claims before it makes anything of it, and raises FormatError with the file's name otherwise.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from being.dataset.tracking import finite
from being.errors import FormatError, InputError

MAX_FILE_BYTES = 4 << 30
MAX_MATRICES_BYTES = 1 << 30  # the arrays read from one MATLAB file
_HOSTILE = "It may carry code or be made to exhaust memory; get it again from where it was made"
_PLAIN_DTYPE = re.compile(r"[<>|=]?[biufSUO]\d{0,4}")


def check_file(path: Path, remedy: str) -> None:
    """Raise InputError unless `path` is a file, FormatError where it is absurdly large or empty."""
    if not path.is_file():
        raise InputError(f"{path} is missing", remedy)
    size = path.stat().st_size
    if not 0 < size <= MAX_FILE_BYTES:
        raise FormatError(f"{path} has {size} bytes, expected 1 to {MAX_FILE_BYTES >> 30} GiB", _HOSTILE)


def load_tensors(path: Path, remedy: str) -> dict[str, Any]:
    """A dictionary of tensors saved by `torch.save`: state dicts, `track_params.pt`.

    Raises
    ------
    InputError
        No such file.
    FormatError
        Anything but a plain dictionary of CPU tensors by name: pickled code, a compressed archive, a tensor that claims
        more numbers than the file has bytes for.
    """
    import torch

    check_file(path, remedy)
    size = path.stat().st_size
    try:
        if zipfile.is_zipfile(path):  # torch never compresses: what is compressed is a bomb
            with zipfile.ZipFile(path) as archive:
                claimed = sum(member.file_size for member in archive.infolist())
            if claimed > size:
                raise FormatError(f"{path} claims more bytes than it has ({claimed} of {size})", _HOSTILE)
        entries = torch.load(path, map_location="cpu", weights_only=True)
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"{path} is not a plain dictionary of tensors ({type(error).__name__})", _HOSTILE) from error
    if not isinstance(entries, dict):
        raise FormatError(f"{path} holds a {type(entries).__name__}, expected a dictionary of tensors")
    for name, value in entries.items():
        if not isinstance(name, str):
            raise FormatError(f"{path} has a key {name!r}, expected names")
        if not isinstance(value, torch.Tensor):
            raise FormatError(f"{path}: {name!r} is a {type(value).__name__}, expected a tensor")
        if value.layout != torch.strided or value.numel() * value.element_size() > size:
            raise FormatError(
                f"{path}: {name!r} of shape {tuple(value.shape)} claims more than the file holds", _HOSTILE
            )
    return entries


def load_array(path: Path, shape: tuple[int | None, ...], remedy: str) -> NDArray[Any]:
    """A plain `.npy` of numbers of a known shape (None: any length), finite throughout."""
    check_file(path, remedy)
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")  # a map refuses to be larger than its file
    except Exception as error:
        raise FormatError(f"{path} is not a plain array ({type(error).__name__}: {error})", _HOSTILE) from error
    if not isinstance(array, np.ndarray):
        raise FormatError(f"{path} is an archive, expected one array")
    return finite(np.array(array), shape, str(path))


def load_array_dictionary(path: Path, wanted: Sequence[str], remedy: str) -> dict[str, NDArray[Any]]:
    """A `.npy` that holds a pickled dictionary of arrays; only the entries `wanted` are returned, all must be there.

    The unpickler knows how to make arrays of numbers and nothing else.

    Raises
    ------
    InputError
        No such file.
    FormatError
        The pickle wants anything else (named), or an entry is missing or is not an array of finite numbers.
    """
    check_file(path, remedy)
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise FormatError(f"{path} is a .npy of version {version}, expected (1, 0)")
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if shape != () or dtype != np.dtype(object):
                raise FormatError(f"{path} holds {dtype} {shape}, expected one dictionary")
            holder = _ArrayUnpickler(file).load()
    except FormatError:
        raise
    except Exception as error:  # pickles fail in every way there is
        raise FormatError(f"{path} cannot be read ({type(error).__name__}: {error})", _HOSTILE) from error
    entries = holder.content if isinstance(holder, _Array) else holder
    if not isinstance(entries, dict):
        raise FormatError(f"{path} holds a {type(entries).__name__}, expected a dictionary of arrays")
    arrays = {}
    for name in wanted:
        value = entries.get(name)
        if not isinstance(value, _Array) or not isinstance(value.content, np.ndarray):
            raise FormatError(f"{path} has no array {name!r}", remedy)
        arrays[name] = finite(value.content, (None,) * value.content.ndim, f"{path}, {name!r}")
    return arrays


def load_matrices(path: Path, wanted: Sequence[str], remedy: str) -> dict[str, NDArray[Any]]:
    """Matrices of a MATLAB file (version 5 to 7); their sizes are looked at before they are read."""
    from scipy.io import loadmat, whosmat

    check_file(path, remedy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            claims = {name: (shape, kind) for name, shape, kind in whosmat(path)}
            for name in wanted:
                if name not in claims:
                    raise FormatError(f"{path} has no matrix {name!r}", remedy)
                shape, kind = claims[name]
                count = 1
                for length in shape:
                    count *= int(length)
                if kind not in ("single", "double", "int32") or not 0 < count * 8 <= MAX_MATRICES_BYTES:
                    raise FormatError(f"{path}: {name!r} is {kind} of shape {tuple(shape)}", _HOSTILE)
            loaded = loadmat(path, variable_names=list(wanted))
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"{path} is not a MATLAB file ({type(error).__name__}: {error})", _HOSTILE) from error
    return {name: finite(np.asarray(loaded[name]), (None, None), f"{path}, {name!r}") for name in wanted}


class _Ndarray:
    """Stands for the class `numpy.ndarray` inside a pickle, where calling the real one could claim any memory."""


class _Dtype:
    """A type of numbers; its pickled state may only say what the name says."""

    def __init__(self, text: object, *flags: object) -> None:
        if not isinstance(text, str) or not _PLAIN_DTYPE.fullmatch(text):
            raise pickle.UnpicklingError(f"the type {text!r} is not one of plain numbers")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, rest = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in rest):
            raise pickle.UnpicklingError("a type of structured records is not one of plain numbers")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array of a pickle. `content` is the array, or the one object that a holder of objects holds."""

    def __init__(self) -> None:
        self.content: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, raw = state
        if not isinstance(kind, _Dtype):
            raise pickle.UnpicklingError("an array without a type")
        if kind.dtype.hasobject:
            if shape != () or not isinstance(raw, list) or len(raw) != 1:
                raise pickle.UnpicklingError("an array of objects is not one of numbers")
            self.content = raw[0]
            return
        data = raw.encode("latin1") if isinstance(raw, str) else bytes(raw)
        flat = np.frombuffer(data, kind.dtype)  # as many numbers as there are bytes for, whatever `shape` claims
        self.content = flat.reshape(shape, order="F" if fortran else "C").copy()


def _reconstruct(kind: object, shape: object, typecode: object) -> _Array:
    """In place of `numpy`'s own maker of an empty array, whose state is set afterwards."""
    if kind is not _Ndarray:
        raise pickle.UnpicklingError("an array of another class")
    return _Array()


def _scalar(kind: _Dtype, raw: bytes | str) -> Any:
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    return np.frombuffer(data, kind.dtype, count=1)[0]


def _encode(text: str, codec: str) -> bytes:
    """How old pickles write bytes."""
    if codec != "latin1":
        raise pickle.UnpicklingError(f"the codec {codec!r} is not needed")
    return text.encode("latin1")


class _ArrayUnpickler(pickle.Unpickler):
    """Admits arrays of numbers, dictionaries, lists, strings and numbers."""

    _ADMITTED: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): _Ndarray,
        ("numpy", "dtype"): _Dtype,
        ("_codecs", "encode"): _encode,
        **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    }

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        admitted = self._ADMITTED.get((module, name))
        if admitted is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return admitted
