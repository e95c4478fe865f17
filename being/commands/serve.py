"""`being serve`: the live server. Ray Serve's own `serve run`, with the settings a single machine wants."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from being.errors import InputError, MissingDependencyError

CONFIG = Path("serve_config.yaml")
# What serve_config.yaml says, for an installation without the file; a test holds the two together.
DEFAULT: dict[str, Any] = {
    "proxy_location": "HeadOnly",
    "http_options": {"host": "127.0.0.1", "port": 8000},
    "logging_config": {"enable_access_log": False},
    "applications": [
        {
            "name": "being",
            "route_prefix": "/",
            "import_path": "being.deployments.app:build",
            "args": {"fast": "auto"},
        }
    ],
}
# For processes that Ray starts; what is set already stays. Measured: docs/serving.md.
ENVIRONMENT = {
    "RAY_worker_niceness": "0",  # Ray runs workers at 15: whatever else the machine does would go first
    # Everything of ours is asynchronous, so that a thread of its own for our code only costs hops between threads.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    "RAY_USAGE_STATS_ENABLED": "0",
}
# The ingress itself listens on the port, no proxy in between: its replica gets the one port there is, and so does its
# successor.
DIRECT = {
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
    "RAY_SERVE_PORT_QUARANTINE_S": "0",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.1",
}
OBJECT_STORE_BYTES = 512 << 20  # frames travel by value; Ray would take a third of the memory


@click.command(name="serve", context_settings={"max_content_width": 110})
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--host", help="Address to listen on [default: of the config]. There is no login: mind who can reach it.")
@click.option("--port", type=click.IntRange(1, 65535), help="[default: of the config, 8000]")
@click.option(
    "--library",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of avatars, may be repeated [default: of the config].",
)
@click.option("--address", help="A running Ray cluster [default: start one on this machine].")
@click.option(
    "--proxy/--no-proxy",
    default=False,
    help="Ray Serve's HTTP proxy before the ingress: a hop and CPU time more [default: only with --address].",
)
@click.option(
    "--dashboard/--no-dashboard", default=False, show_default=True, help="Ray's dashboard; it costs CPU time."
)
def command(
    config: Path | None,
    host: str | None,
    port: int | None,
    library: tuple[Path, ...],
    address: str | None,
    proxy: bool,
    dashboard: bool,
) -> None:
    """Serve the avatars: the page at /, the API at /docs.

    \b
    Examples:
        being serve
        being serve serve_config.a100.yaml --host 0.0.0.0
    """
    import yaml

    settings = merged(_read(config), host, port, library)
    environment = dict(ENVIRONMENT)
    if address is None and not proxy and "RAY_SERVE_ENABLE_HA_PROXY" not in os.environ:
        settings, direct = without_proxy(settings)
        environment |= direct
    for name, value in environment.items():
        os.environ.setdefault(name, value)  # before Ray is imported, which reads them
    try:
        from being.deployments.cluster import start_ray

        if address is None:
            start_ray(
                num_cpus=max(2, os.cpu_count() or 1),
                include_dashboard=dashboard,
                object_store_memory=OBJECT_STORE_BYTES,
                namespace="serve",
                log_to_driver=True,
            )
        from ray.serve.scripts import run
    except ImportError as error:
        raise MissingDependencyError("ray", "serve", "Serving") from error

    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="being-serve-") as file:
        yaml.safe_dump(settings, file)
        file.flush()
        arguments = [file.name] if address is None else [file.name, "--address", address]
        run.main(arguments, standalone_mode=False)


def without_proxy(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration with the ingress itself on its port, and what Ray must find in the environment for it.

    Ray starts its proxy all the same; it gets some other port of the same address.
    """
    from being.deployments.cluster import free_ports

    http = {**settings.get("http_options", {})}
    port = int(http.get("port", 8000))
    ports = {
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(port + 1),  # excluded
    }
    return {**settings, "http_options": {**http, "port": free_ports(1)[0]}}, {**DIRECT, **ports}


def merged(settings: dict[str, Any], host: str | None, port: int | None, library: tuple[Path, ...]) -> dict[str, Any]:
    """The configuration with what the command line says instead."""
    http = {**settings.get("http_options", {})}
    if host is not None:
        http["host"] = host
    if port is not None:
        http["port"] = port
    applications = [dict(application) for application in settings["applications"]]
    if library:
        for application in applications:
            application["args"] = {**application.get("args", {}), "library": [str(path.resolve()) for path in library]}
    return {**settings, "http_options": http, "applications": applications}


def _read(config: Path | None) -> dict[str, Any]:
    """The file named, the one in this folder, or the built-in one."""
    import yaml

    if config is None and not CONFIG.is_file():
        return DEFAULT
    path = config or CONFIG
    try:
        settings = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "Name a Serve config file") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise InputError(f"{path}: is not YAML ({str(error).splitlines()[0]})", "Name a Serve config file") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("applications"), list):
        raise InputError(f"{path}: has no list `applications`", "See serve_config.yaml")
    for application in settings["applications"]:
        for deployment in application.get("deployments", []):
            if deployment.get("name") == "Ingress" and _several(deployment):
                raise InputError(
                    f"{path}: asks for several replicas of Ingress, which would not know each other's sessions",
                    "Leave it at one; give the Renderer more replicas and shards",
                )
    return settings


def _several(deployment: dict[str, Any]) -> bool:
    return deployment.get("num_replicas", 1) != 1 or deployment.get("autoscaling_config") is not None
