"""`being serve`: the live server. Ray Serve's own `serve run`, with the settings a single machine wants."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from being.commands.deployed import stay, taken_down
from being.commands.library_option import require_folders
from being.commands.mps import MpsUnavailable, mps_runs, multi_process_service
from being.commands.renderers import renderers_share_a_gpu, with_renderers
from being.commands.serve_checks import (
    check_access,
    check_args,
    check_port,
    check_shape,
    exposure,
    first_problem,
    listening,
)
from being.commands.session_workers import (
    behind_haproxy,
    gpus_here,
    haproxy_is_here,
    places,
    stated_workers,
    with_workers,
    without_proxy,
    workers_needed,
)
from being.commands.stopping import stopped_by_signals
from being.errors import InputError, MissingDependencyError
from being.processors import usable_processors
from being.ray_local import cannot_be_joined, require_own_package, require_ray, start_ray

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
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # a SIGTERM while Ray starts waits for nothing
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
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name browsers may know this server by: being.example.org, *.lan. May be repeated. Addresses, localhost and "
    "this machine's own name always work.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Where pages that use this server may come from: https://app.example.org, https://*.example.org, *. May be "
    "repeated. Its own page always may, and on this machine the pages of other local servers.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Session workers: processes that hold the sessions and encode for them, six to eight of 512x512 each "
    "[default: of the config, or what this machine needs: one without a GPU on fewer than 16 cores].",
)
@click.option(
    "--renderers",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Processes that draw; they share the GPUs. Two on a GPU answer sooner where NVIDIA's Multi-Process Service is "
    "installed, and take its memory twice [default: of the config, one].",
)
@click.option(
    "--mps/--no-mps",
    default=None,
    help="Run NVIDIA's Multi-Process Service meanwhile [default: where renderers share a GPU and it is installed].",
)
@click.option(
    "--refiner",
    type=click.Choice(["none", "native", "streamdiffusion"]),
    help="What makes frames photographic; native plays what being fit-refiner made [default: of the config].",
)
@click.option("--address", help="A running Ray cluster [default: start one on this machine].")
@click.option(
    "--proxy/--no-proxy",
    default=False,
    help="Ray Serve's HTTP proxy before the workers: a hop and CPU time more [default: only with --address].",
)
@click.option(
    "--dashboard/--no-dashboard", default=False, show_default=True, help="Ray's dashboard; it costs CPU time."
)
def command(
    config: Path | None,
    host: str | None,
    port: int | None,
    library: tuple[Path, ...],
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    workers: int | None,
    renderers: int | None,
    mps: bool | None,
    refiner: str | None,
    address: str | None,
    proxy: bool,
    dashboard: bool,
) -> None:
    """Serve the avatars: the page at /, the API at /docs. Ctrl-C or SIGTERM ends it.

    \b
    Examples:
        being serve
        being serve serve_config.a100.yaml --host 0.0.0.0 --allow-host being.example.org
        being serve --allow-origin https://app.example.org
        being serve --workers 4
        being serve --renderers 2
    """
    import yaml

    if address is None:
        require_folders(library)  # those of a cluster need not be there for this machine
    else:
        require_ray(address)
    check_access(hosts, origins)
    settings = _read(config)
    if settings is not DEFAULT:
        check_args(settings, str(config or CONFIG))
    settings = merged(settings, host, port, library, hosts, origins, refiner)
    require_own_package(Path.cwd())
    if address is None:
        check_port(*listening(settings))
    if (warning := exposure(settings)) is not None:
        click.echo(f"being: {warning}", err=True)
    if workers is not None:
        settings = with_workers(settings, workers)
    if renderers is not None:
        # A cluster's GPUs are not those of this machine: there the configuration says how they are shared.
        settings = with_renderers(settings, renderers, gpus_here() if address is None else 0)
    with (
        _sharing(settings, mps, address) as sharing,
        stopped_by_signals(ours=address is None) as arm,
        tempfile.TemporaryDirectory(prefix="being-serve-", ignore_cleanup_errors=True) as folder,
        (Path(folder) / "serve_config.yaml").open("w") as file,
    ):
        environment = dict(ENVIRONMENT)
        if address is None:
            settings, front = _in_front(settings, proxy, Path(folder))
            environment |= front
        for name, value in environment.items():
            os.environ.setdefault(name, value)  # before Ray is imported, which reads them
        os.environ.update(sharing)
        yaml.safe_dump(settings, file)
        file.flush()
        try:
            if address is None:
                start_ray(
                    address="local",  # one of its own, whatever Ray runs on the machine besides
                    num_cpus=places(settings, usable_processors()),
                    include_dashboard=dashboard,
                    object_store_memory=OBJECT_STORE_BYTES,
                    namespace="serve",
                    log_to_driver=True,
                )
                arm()
            from pydantic import ValidationError
            from ray import serve
            from ray.exceptions import RayError
            from ray.serve.scripts import run
        except ImportError as error:
            raise MissingDependencyError("ray", None, "Serving") from error
        elsewhere = [] if address is None else ["--address", address]
        with taken_down(_names(settings) if address is not None else []):
            try:
                run.main([file.name, "--non-blocking", *elsewhere], standalone_mode=False)
            except SystemExit as error:
                sys.exit(1 if error.code is None else error.code)  # None: it failed, and has said so
            except ValidationError as error:
                raise InputError(f"{config or CONFIG}: {first_problem(error)}", "See serve_config.yaml") from None
            except (ConnectionError, ValueError, RuntimeError, RayError) as error:
                if address is None:
                    raise
                raise cannot_be_joined(address, error) from error
            arm()  # joining a cluster has put a handler of Ray's in the place of ours
            stay(_names(settings), lambda: serve.status().applications)


def _names(settings: dict[str, Any]) -> list[str]:
    """Of the applications, as Serve has them."""
    return [application.get("name", "default") for application in settings["applications"]]


@contextlib.contextmanager
def _sharing(settings: dict[str, Any], wanted: bool | None, address: str | None) -> Iterator[dict[str, str]]:
    """The Multi-Process Service where it is wanted or of use, and the environment of its users; says what was done."""
    if wanted and address is not None:
        raise InputError(
            "--mps runs the service for processes of this machine, not of a cluster",
            "Start it on each node before its ray start: nvidia-cuda-mps-control -d",
        )
    if wanted is False or address is not None or not (wanted or renderers_share_a_gpu(settings, gpus_here())):
        yield {}
        return
    if mps_runs():
        click.echo("being: renderers share the GPU by the NVIDIA MPS that runs here", err=True)
        yield {}
        return
    with contextlib.ExitStack() as stack:
        environment: dict[str, str] = {}
        try:
            environment = stack.enter_context(multi_process_service())
        except MpsUnavailable as reason:
            if wanted:
                raise InputError(f"there is no NVIDIA MPS: {reason}", "Leave out --mps") from None
            click.echo(f"being: renderers use the GPU in turn, for there is no NVIDIA MPS: {reason}", err=True)
        else:
            click.echo("being: renderers share the GPU by NVIDIA MPS", err=True)
        yield environment


def _in_front(settings: dict[str, Any], proxy: bool, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """As many workers as stated or needed, and the environment for what stands before them; says what was picked."""
    cores, gpus = usable_processors(), gpus_here()
    workers = stated_workers(settings)
    machine = f"{cores} cores and {gpus} GPU{'s' * (gpus != 1)}"
    if workers is None:
        workers = workers_needed(cores, gpus)
        settings = with_workers(settings, workers)
    named = "one session worker" if workers == 1 else f"{workers} session workers"
    if workers == "auto":
        named = "as many session workers as the sessions need"
    if proxy or "RAY_SERVE_ENABLE_HA_PROXY" in os.environ:
        click.echo(f"being: {named} on {machine}, behind the proxy that was asked for", err=True)
        return settings, {}
    if workers == 1:
        click.echo(f"being: {named} on {machine}; --workers N for more", err=True)
        return without_proxy(settings)
    if not haproxy_is_here():
        click.echo(f"being: {named} on {machine}, behind Ray's own proxy: there is no HAProxy here", err=True)
        return settings, {}
    click.echo(f"being: {named} on {machine}, behind HAProxy", err=True)
    return settings, behind_haproxy(folder)


def merged(
    settings: dict[str, Any],
    host: str | None,
    port: int | None,
    library: Sequence[Path],
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    refiner: str | None = None,
) -> dict[str, Any]:
    """The configuration with what the command line says instead, or besides: `hosts` and `origins` are added."""
    http = {**(settings.get("http_options") or {})}
    if host is not None:
        http["host"] = host
    if port is not None:
        http["port"] = port
    applications = [dict(application) for application in settings["applications"]]
    for application in applications:
        args = {**(application.get("args") or {})}
        if library:
            args["library"] = [str(path.resolve()) for path in library]
        if refiner is not None:
            args["refiner"] = refiner
        access = args.get("access") or {}
        if isinstance(access, dict):  # of another's application it may be anything
            added = {name: listed for name, listed in (("hosts", hosts), ("origins", origins)) if listed}
            access = {**access, **{name: [*(access.get(name) or []), *listed] for name, listed in added.items()}}
        application["args"] = {**args, "access": access} if access else args
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
    return check_shape(settings, str(path))
