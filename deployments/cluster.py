"""A Ray of our own on this machine, started so that a slow or busy machine only makes it slow.

Ray's raylet waits fifteen seconds, written into its code, for the helper processes it starts to tell it their ports,
and aborts if their imports take longer (ray-project/ray#65983). Told the ports beforehand it does not wait.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

from being.deployments.messages import LARGEST, VARIABLE

# Read by the processes that Ray starts; what is set already stays. A minute is enough, except where it is not.
ENVIRONMENT = {
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_gcs_server_request_timeout_seconds": "120",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
    VARIABLE: str(LARGEST),
}
HELPER_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
ATTEMPTS = 2

log = logging.getLogger(__name__)


def start_ray(**options: Any) -> None:
    """`ray.init(**options)` for a new Ray here; call it before Ray is imported, which reads `ENVIRONMENT`."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _ports_known():
                ray.init(**options)
            return
        except Exception as error:
            ray.shutdown()
            if attempt == ATTEMPTS or "timed out" not in str(error):
                raise
            log.warning("Ray did not start in time (%s); once more", str(error).partition("\n")[0])


def free_ports(count: int) -> list[int]:
    """TCP ports nobody listens on now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextlib.contextmanager
def _ports_known() -> Iterator[None]:
    """While this holds, a Ray that starts is told the ports of its helpers, which `ray.init` itself does not take."""
    from ray._private import parameter

    original = getattr(parameter, "RayParams", None)
    if original is None:  # another Ray than the one this was written for: it starts as it always does
        yield
        return
    takes = inspect.signature(original).parameters
    names = [name for name in HELPER_PORTS if name in takes]
    known = dict(zip(names, free_ports(len(names)), strict=True))

    def params(**given: Any) -> Any:
        return original(**{**given, **{name: port for name, port in known.items() if given.get(name) is None}})

    replaceable: Any = parameter  # to a type checker the name is a class for ever
    replaceable.RayParams = params
    try:
        yield
    finally:
        replaceable.RayParams = original
