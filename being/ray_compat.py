"""Every private name of Ray that Being touches, for the Ray that pyproject.toml pins.

Public flags come first: `being.ray_local.ENVIRONMENT`, the environment of the images, `ray start`. What stands here has
none in the place where it is needed; each function says what it replaces, why, and the flag that does the same
elsewhere. tests/test_ray_compat.py tests each one, so that a new Ray fails there and not in a live session.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

MESSAGE_VARIABLE = "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH"  # read where Ray Serve is imported
LARGEST_MESSAGE = (1 << 31) - 1  # bytes, the most that gRPC takes
BY_VALUE: Mapping[str, Any] = {"_by_reference": False}
"""Option of a handle: calls travel by gRPC from process to process, not through Ray's object store. The flag is the
variable RAY_SERVE_USE_GRPC_BY_DEFAULT, for all handles of a process."""
HELPER_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def receive_large_answers() -> None:
    """Let this process receive answers of any size from replicas, whatever Ray was started with.

    Frames travel by value. Ray's own bound, 4 MiB, is passed by eleven frames of 512x512: gRPC refuses the answer, the
    tick is lost, and the next one, late for it, is larger still. The flag is the environment variable
    `MESSAGE_VARIABLE`; a plain `serve run` starts its Ray without it, before Being is imported. What a replica is sent,
    as a refiner of its own is frames, stays bounded as the environment has it.
    """
    from ray.serve._private.request_router import replica_wrapper

    _replace(replica_wrapper, MESSAGE_VARIABLE, LARGEST_MESSAGE)


class _Reusing(socket.socket):
    """Binds a port that nobody listens on, whatever its last connections wait for."""

    def bind(self, address: Any, /) -> None:
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        super().bind(address)


def take_port_again() -> None:
    """Let Ray Serve bind a port in TIME_WAIT in this process; call it before the replica's HTTP server starts.

    A server that closed a connection leaves its port waiting for a minute. Ray binds the port of an ingress without
    SO_REUSEADDR and never tries one again that refused it: a server started again, or an ingress in the place of one
    that died, would not listen in that minute, nor ever after. No flag: a replica is started with
    `enable_so_reuseport=False`.
    """
    from ray.serve._private import http_util

    _replace(http_util, "socket", SimpleNamespace(**{**vars(socket), "socket": _Reusing}))


def send_media_as_it_is() -> None:
    """Let Ray Serve's HTTP server in this process send WebSocket messages uncompressed; call it before it starts.

    Clients offer permessage-deflate (RFC 7692) and uvicorn takes it: coded pictures and sound do not get smaller, each
    costs processor time, and each connection holds zlib's buffers. No flag: Ray makes the `uvicorn.Config` itself.
    """
    import uvicorn
    from ray.serve._private import http_util

    config = functools.partial(uvicorn.Config, ws_per_message_deflate=False)
    _replace(http_util, "uvicorn", SimpleNamespace(**{**vars(uvicorn), "Config": config}))


def before_replica_stops(farewell: Callable[[], Awaitable[None]]) -> None:
    """Await `farewell` in this replica when a planned stop begins: a rolling upgrade, fewer replicas, a drained node.

    Ray then waits for what is under way, and a WebSocket is for hours: its client must be sent elsewhere first; behind
    HAProxy it ends all of them after `RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S`. All that Ray offers is the
    destructor, which it calls after having waited in vain. No flag. The time counts for `graceful_shutdown_timeout_s`.
    """
    from ray.serve._private import replica

    original = replica.Replica._perform_graceful_shutdown

    async def perform(self: Any) -> None:
        try:
            await farewell()
        finally:
            await original(self)

    _replace(replica.Replica, "_perform_graceful_shutdown", perform)


@contextlib.contextmanager
def helper_ports(ports: Mapping[str, int]) -> Iterator[None]:
    """Within, a Ray started by `ray.init` is told the ports of its helper processes (`HELPER_PORTS`).

    Ray's raylet waits fifteen seconds, written into its code, for its helpers to tell it their ports, and aborts if
    their imports take longer (ray-project/ray#65983); told the ports beforehand it does not wait. `ray start` has flags
    for them (--dashboard-agent-grpc-port, --metrics-export-port, --dashboard-agent-listen-port and
    --runtime-env-agent-port, as benchmarks/train_job.py uses them); `ray.init` has none.
    """
    from ray._private import parameter

    original = parameter.RayParams

    def params(**given: Any) -> Any:
        return original(**{**given, **{name: port for name, port in ports.items() if given.get(name) is None}})

    _replace(parameter, "RayParams", params)
    try:
        yield
    finally:
        _replace(parameter, "RayParams", original)


def _replace(module: Any, name: str, value: Any) -> None:
    """Set what the module has under this name; AttributeError in a Ray without it, where nobody would read it."""
    getattr(module, name)
    setattr(module, name, value)
