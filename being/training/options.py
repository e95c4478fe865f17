"""The command line of `fit`, made from `FitConfig`: one option for every field, nested parts joined by a dash."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from being.errors import InputError
from being.training.config import FitConfig
from being.training.former_names import FORMER_FIELDS

Command = TypeVar("Command", bound=Callable[..., Any])


def fields_of(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every leaf of a model: (path of field names, field)."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation, (*prefix, name))
        else:
            yield (*prefix, name), field


def fit_options(command: Command) -> Command:
    """Click decorator: adds an option for every field of FitConfig. The values reach the command by `config_of`."""
    for path, field in reversed(list(fields_of(FitConfig))):
        flag = "--" + "-".join(path).replace("_", "-")
        shown = field.default
        text = field.description or ""
        default = "" if shown is None or shown == () else f" [default: {_text(shown)}]"
        metavar = _metavar(field.annotation)
        option = click.option(flag, _key(path), default=None, metavar=metavar, help=text + default)
        command = option(command)
    for then in FORMER_FIELDS.values():
        command = click.option("--" + then.replace("_", "-"), _key((then,)), default=None, hidden=True)(command)
    return command


def config_of(values: dict[str, Any]) -> FitConfig:
    """FitConfig of the options given (None: not given); takes its own keys out of `values`.

    Raises InputError naming the option that is wrong.
    """
    former = {then: values.pop(_key((then,)), None) for then in FORMER_FIELDS.values()}
    tree: dict[str, Any] = {then: value for then, value in former.items() if value is not None}
    for path, field in fields_of(FitConfig):
        value = values.pop(_key(path), None)
        if value is None:
            continue
        if _is_tuple(field.annotation):
            value = tuple(part.strip() for part in str(value).split(","))
        level = tree
        for name in path[:-1]:
            level = level.setdefault(name, {})
        level[path[-1]] = value
    try:
        return FitConfig.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        names = [str(part) for part in first["loc"] if isinstance(part, str) and part.isidentifier()]
        flag = "--" + "-".join(names).replace("_", "-") if names else "options"
        raise InputError(f"{flag}: {first['msg']}", "See --help") from error


def _key(path: tuple[str, ...]) -> str:
    return "fit_" + "__".join(path)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _is_tuple(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple


def _metavar(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return "|".join(map(str, typing.get_args(annotation)))
    if origin is tuple:
        return "A,B,..."
    if origin in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(annotation) if part is not type(None)]
        return "|".join(_metavar(part) for part in inner)
    if origin is typing.Annotated:
        return _metavar(typing.get_args(annotation)[0])
    return {int: "N", float: "X", str: "TEXT", bool: "true|false"}.get(annotation, "PATH")
