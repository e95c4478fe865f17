"""What `being serve` refuses before anything starts: settings that are none, and ports of others."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from being.errors import InputError
from being.startup import loading

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

SEE = "See serve_config.yaml"
OWN_PORT = 8000  # Serve's own
OURS = "being.deployments.app:build"  # the application whose arguments are known here


def check_shape(settings: Any, source: str) -> dict[str, Any]:
    """The settings of a Serve config file; raises InputError where a part read here has not the form that is read."""
    if not isinstance(settings, dict) or not isinstance(settings.get("applications"), list):
        raise InputError(f"{source}: has no list `applications`", SEE)
    if not settings["applications"]:
        raise InputError(f"{source}: its list `applications` is empty", SEE)
    http = settings.get("http_options") or {}
    if not isinstance(http, dict):
        raise InputError(f"{source}: `http_options` is no mapping", SEE)
    port = http.get("port", OWN_PORT)
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise InputError(f"{source}: the port {port!r} is no number from 1 to 65535", SEE)
    for application in settings["applications"]:
        if not isinstance(application, dict) or not isinstance(application.get("args") or {}, dict):
            raise InputError(f"{source}: an application or its `args` is no mapping", SEE)
        if not isinstance(application.get("name", ""), str):
            raise InputError(f"{source}: the name {application['name']!r} of an application is no text", SEE)
    return settings


def first_problem(error: ValidationError) -> str:
    """What Serve says of a configuration that it does not take, in one line."""
    problem = error.errors()[0]
    name = ".".join(map(str, problem["loc"]))
    return " ".join((f"{name}: " * bool(name) + _reason(problem)).split())


def check_args(settings: Mapping[str, Any], source: str) -> None:
    """Refuse wrong names and values under `args` of each application that is Being's.

    source : the file they stand in, for the message.

    Raises
    ------
    InputError
        Naming the first that is wrong, and what there is.
    """
    from pydantic import ValidationError

    with loading():
        from being.deployments.settings import GraphSettings

    for application in settings["applications"]:
        if application.get("import_path") != OURS:
            continue
        try:
            GraphSettings.model_validate(application.get("args") or {})
        except ValidationError as error:
            raise _refusal(error.errors()[0], source, GraphSettings) from None


def check_access(hosts: Sequence[str], origins: Sequence[str]) -> None:
    """Raise InputError for an --allow-host that is no name, or an --allow-origin that is no origin."""
    from pydantic import ValidationError

    from being.api.origin import Access

    try:
        Access.model_validate({"hosts": hosts, "origins": origins})
    except ValidationError as error:
        problem = error.errors()[0]
        option = {"hosts": "--allow-host", "origins": "--allow-origin"}[str(problem["loc"][0])]
        raise InputError(f"{option}: {_reason(problem)}") from None


def listening(settings: Mapping[str, Any]) -> tuple[str, int]:
    """Address and port that a configuration names, or Serve's own."""
    http = settings.get("http_options") or {}
    return str(http.get("host", "127.0.0.1")), int(http.get("port", OWN_PORT))


def check_port(host: str, port: int) -> None:
    """Refuse an address on which the ingress could not listen; it binds as the ingress does.

    Raises
    ------
    InputError
        Another process listens there, or there is no such address, or it may not be taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        remedy = f"Stop what listens on port {port}, or choose another with --port"
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            remedy = "Give --host an address of this machine"
        elif isinstance(error, PermissionError):
            remedy = "Choose a port from 1024 on with --port"
        raise InputError(f"cannot listen on {host}:{port} ({error.strerror})", remedy) from None


def exposure(settings: Mapping[str, Any]) -> str | None:
    """What it means that others reach the server, where they do and nobody has said under which name."""
    from being.api.origin import is_loopback

    host, port = listening(settings)
    named = any(_access(application).get("hosts") for application in settings["applications"])
    if named or is_loopback(host):
        return None
    return (
        f"listening on {host}:{port} beyond this machine: whoever reaches it can see and use every avatar, for there "
        "is no login; browsers get in by its addresses and this machine's name (--allow-host for other names)"
    )


def _access(application: Mapping[str, Any]) -> Mapping[str, Any]:
    access = (application.get("args") or {}).get("access")
    return access if isinstance(access, Mapping) else {}  # of another's application it may be anything


def _refusal(problem: Mapping[str, Any], source: str, model: type[BaseModel]) -> InputError:
    """The line for one of pydantic's errors."""
    name = ".".join(["args", *map(str, problem["loc"])])
    table = "see the table in docs/serving.md"
    if problem["type"] == "extra_forbidden":
        names = _names(model, problem["loc"][:-1])
        return InputError(f"{source}: {name} is not known", f"Known here: {names}; {table}")
    value = problem["input"]
    said = f"{name} is {value!r}" if isinstance(value, str | int | float) else name
    return InputError(f"{source}: {said}: {_reason(problem)}", table.capitalize())


def _names(model: type[BaseModel], path: Sequence[str | int]) -> str:
    """The fields of the part of a model to which a path of names leads."""
    for part in path:
        annotation = model.model_fields[str(part)].annotation
        model = next(kind for kind in (annotation, *get_args(annotation)) if hasattr(kind, "model_fields"))
    return ", ".join(model.model_fields)


def _reason(problem: Mapping[str, Any]) -> str:
    reason = str(problem["msg"]).removeprefix("Value error, ")
    return reason[0].lower() + reason[1:]
