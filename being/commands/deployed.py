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


def stay(names: Collection[str], states: Callable[[], States], sleep: Callable[[float], None] = time.sleep) -> NoReturn:
    """Never return, until a signal ends it. Once they run, applications are Serve's to heal, and nobody looks.

    Parameters
    ----------
    names : of the applications that were deployed; a cluster may have others.
    states : Serve's view of all applications, `serve.status().applications`.

    Raises
    ------
    BeingError
        Serve has given one of them up before it ran.
    """
    while not _all_run(names, states()):
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
                    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                    click.echo(f"being: application {name!r} may be left on the cluster: {reason}", err=True)


def _all_run(names: Collection[str], states: States) -> bool:
    for name in names:
        if name in states and states[name].status == "DEPLOY_FAILED":
            raise BeingError(f"application {name!r} cannot be served: {_reason(states[name])}", "Its log is above")
    return all(name in states and states[name].status == "RUNNING" for name in names)


def _reason(state: ApplicationStatusOverview) -> str:
    """The end of the traceback, of a deployment that failed or else of the application."""
    failed = [one.message for one in state.deployments.values() if one.status == "DEPLOY_FAILED"]
    lines = [line.strip() for message in (*failed, state.message) for line in message.strip().splitlines()[-1:]]
    return next((line for line in lines if line), "Serve does not say why")
