"""An application that was handed to Serve: whether it came up, and that it is taken down again."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn

import click

from being.errors import BeingError

if TYPE_CHECKING:
    from ray.serve.schema import ApplicationStatusOverview

    States = Mapping[str, ApplicationStatusOverview]

LOOK_S = 2.0  # between two looks while it is deployed
LOOKS = 15  # in a row that may fail or miss an application: Serve's controller may be starting again


def stay(names: Collection[str], states: Callable[[], States], sleep: Callable[[float], None] = time.sleep) -> NoReturn:
    """Never return, until a signal ends it. Once they run, applications are Serve's to heal, and nobody looks.

    Parameters
    ----------
    names : of the applications that were deployed; a cluster may have others.
    states : Serve's view of all applications, `serve.status().applications`.

    Raises
    ------
    BeingError
        Serve has given one of them up before it ran, or has not told of it for `LOOKS` looks.
    """
    missed = 0
    while True:
        try:
            seen = states()
        except Exception as error:
            seen, problem = {}, f"the state of the applications cannot be read: {_first_line(error)}"
        else:
            unknown = [name for name in names if name not in seen]
            problem = f"Serve knows no application {unknown[0]!r}" if unknown else ""
        if _all_run(names, seen):
            break
        missed = missed + 1 if problem else 0
        if missed == LOOKS:
            raise BeingError(problem, "See its log above, and whether somebody has deleted it or ended that Ray")
        sleep(LOOK_S)
    while True:
        sleep(3600)


@contextlib.contextmanager
def taken_down(names: Collection[str]) -> Iterator[None]:
    """However the block ends, applications of these names are deleted from the cluster that was joined in it.

    Others on the cluster go on: `serve.shutdown` would end them, too.
    """
    try:
        yield
    finally:
        if names and "ray" in sys.modules:
            import ray
            from ray import serve

            for name in names if ray.is_initialized() else ():
                try:
                    serve.delete(name)
                except Exception as error:  # the cluster is gone, or Serve has ended there
                    reason = _first_line(error)
                    click.echo(f"being: application {name!r} may be left on the cluster: {reason}", err=True)


def _all_run(names: Collection[str], states: States) -> bool:
    for name in names:
        if name in states and states[name].status == "DEPLOY_FAILED":
            raise BeingError(f"application {name!r} cannot be served: {_reason(states[name])}", "Its log is above")
    return all(name in states and states[name].status == "RUNNING" for name in names)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _reason(state: ApplicationStatusOverview) -> str:
    """The end of the traceback, of a deployment that failed or else of the application."""
    failed = [one.message for one in state.deployments.values() if one.status == "DEPLOY_FAILED"]
    lines = [line.strip() for message in (*failed, state.message) for line in message.strip().splitlines()[-1:]]
    return next((line for line in lines if line), "Serve does not say why")
