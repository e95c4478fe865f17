"""A Ray of our own on this machine, started so that a slow or busy machine only makes it slow."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import Any

from being.ray_compat import HELPER_PORTS, LARGEST_MESSAGE, MESSAGE_VARIABLE, helper_ports

# Read by the processes that Ray starts; what is set already stays. A minute is enough, except where it is not.
ENVIRONMENT = {
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_gcs_server_request_timeout_seconds": "120",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
    MESSAGE_VARIABLE: str(LARGEST_MESSAGE),
}
ATTEMPTS = 2

log = logging.getLogger(__name__)


def start_ray(**options: Any) -> None:
    """`ray.init(**options)` for a new Ray here; call it before Ray is imported, which reads `ENVIRONMENT`."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    for attempt in range(1, ATTEMPTS + 1):
        try:
            with helper_ports(dict(zip(HELPER_PORTS, free_ports(len(HELPER_PORTS)), strict=True))):
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
