"""Dataclasses of numbers, text and numpy arrays to bytes and back: JSON, and behind it the arrays as they are.

Nothing is pickled: whoever reads the bytes runs no code of theirs. Fields are found by name, so that a worker of the
next version reads what one of this version wrote: what it does not know is left out, what it misses has a default.
"""

from __future__ import annotations

import json
import struct
import types
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

Value = TypeVar("Value")

HEAD = struct.Struct("<I")  # bytes of JSON
ARRAY = "array"  # key of an array's place in JSON


def pack(value: Any) -> bytes:
    """A dataclass, of dataclasses, tuples, arrays, and what JSON has."""
    arrays: list[bytes] = []
    text = json.dumps(_plain(value, arrays), separators=(",", ":")).encode()
    return b"".join((HEAD.pack(len(text)), text, *arrays))


def unpack(kind: type[Value], data: bytes) -> Value:
    """A `kind` as it was packed.

    Raises
    ------
    ValueError
        These are no bytes of `pack`, or a field without a default is missing.
    """
    try:
        (size,) = HEAD.unpack_from(data)
        tree = json.loads(data[HEAD.size : HEAD.size + size])
        return cast(Value, _built(kind, tree, memoryview(data)[HEAD.size + size :]))
    except (struct.error, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"these bytes are no {kind.__name__} ({error})") from None


def _plain(value: Any, arrays: list[bytes]) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name), arrays) for field in fields(value)}
    if isinstance(value, np.ndarray):
        at = sum(map(len, arrays))
        arrays.append(np.ascontiguousarray(value).tobytes())
        return {ARRAY: [value.dtype.str, list(value.shape), at]}
    if isinstance(value, tuple):
        return [_plain(one, arrays) for one in value]
    return value


def _built(kind: Any, tree: Any, arrays: memoryview) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        if tree is None:
            return None
        (kind,) = (one for one in get_args(kind) if one is not types.NoneType)
    if is_dataclass(kind):
        return cast(Any, kind)(
            **{
                name: _built(hint, tree[name], arrays)
                for name, hint, needed in _fields(cast(type, kind))
                if needed or name in tree
            }
        )
    if get_origin(kind) is tuple:
        return tuple(_built(get_args(kind)[0], one, arrays) for one in tree)
    if isinstance(tree, dict) and tree.keys() == {ARRAY}:
        dtype, shape, at = tree[ARRAY]
        if np.dtype(dtype).hasobject:
            raise TypeError("an array of objects")
        flat = np.frombuffer(arrays, dtype, int(np.prod(shape)), at)
        return flat.reshape(shape).copy()
    return tree


@lru_cache
def _fields(kind: type) -> list[tuple[str, Any, bool]]:
    """Name, type and whether it has no default, of each field."""
    hints = get_type_hints(kind)
    return [
        (field.name, hints[field.name], field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
    ]
