"""A Ray of our own on this machine, started so that a slow or busy machine only makes it slow."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import Any

import being
from being.errors import InputError
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
ANSWER_S = 5.0  # a Ray that runs takes a connection within

REMEDY = "Start one: ray start --head, or leave out --address"
FORMS = "Give --address as HOST:PORT, ray://HOST:PORT or auto"
TOKEN = "It may want a token: RAY_AUTH_MODE=token and the same ~/.ray/auth_token as the cluster"

log = logging.getLogger(__name__)


def require_own_package(folder: Path) -> None:
    """Raise InputError where Ray's workers, which look into the driver's folder first, would import another `being`.

    A copy that has the graph, as a checkout has it, is let through: it is what somebody works on there.
    """
    module, package = folder / "being.py", folder / "being"
    if module.is_file() and not (package / "__init__.py").is_file():
        other = module
    elif (package / "__init__.py").is_file() and package.resolve() != Path(being.__file__).resolve().parent:
        graphs = [package / "deployments"]
        if (folder / "serve_config.yaml").is_file():  # where a checkout's package looks beside itself
            graphs.append(folder / "deployments")
        if any((graph / "app.py").is_file() for graph in graphs):
            return
        other = package
    else:
        return
    raise InputError(
        f"{other} has the name of this program's package, and Ray's workers would import it from there",
        "Start this in another folder, or rename that one",
    )


def start_ray(**options: Any) -> None:
    """`ray.init(**options)`, for a new Ray here; call it before Ray is imported, which reads `ENVIRONMENT`.

    Without an address it joins the Ray that is current here, if there is one. Raises InputError as
    `require_own_package` and `require_ray` do.
    """
    require_own_package(Path.cwd())
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if not ray.is_initialized():
        require_ray(options.get("address") or "auto")
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


def require_ray(address: str) -> None:
    """Raise InputError where nothing listens at `HOST:PORT` or `ray://HOST:PORT`: Ray itself tries for minutes.

    `auto` is what Ray takes for it. Other addresses Ray judges at once.
    """
    remedy = REMEDY
    if address == "auto":
        address, source = current_cluster()
        remedy = f"It was named by {source}: remove that where it ended, or name another by --address"
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except (OSError, OverflowError, UnicodeError):
        raise InputError(f"no Ray answers at {address}", remedy) from None


def cannot_be_joined(address: str, error: Exception) -> InputError:
    """What to tell of an address that Ray would not take, or of a cluster that answers there and let nobody in."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
    remedy = TOKEN
    if isinstance(error, ValueError) or "Module:" in reason:  # Ray takes x://y for a module x that joins
        remedy = FORMS
    elif "Could not find any running Ray" in reason:
        remedy = REMEDY
    return InputError(f"the Ray at {address!r} cannot be joined ({reason.rstrip('.')})", remedy)


def current_cluster() -> tuple[str, str]:
    """What Ray takes for `auto` or for no address, and what says so; `auto` where nothing does.

    `ray start` writes the file, and a head that was killed leaves it behind.
    """
    if address := os.environ.get("RAY_ADDRESS"):
        return address, "the variable RAY_ADDRESS"
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    file = Path(folder) / "ray" / "ray_current_cluster"
    try:
        return file.read_text().strip() or "auto", str(file)
    except (OSError, UnicodeError):
        return "auto", str(file)


def free_ports(count: int) -> list[int]:
    """TCP ports nobody listens on now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
