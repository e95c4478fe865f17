"""Who is answered: requests to a name of this server, and from pages of its own.

A browser lets any page that it shows open WebSockets and send requests to any address, 127.0.0.1 and those of the local
network too. It says for which page in `Origin` (RFC 6454) and `Sec-Fetch-Site` (Fetch Metadata), and a page can change
neither. A page may also let its own host name point to such an address (DNS rebinding); then `Host` names it. Programs
that are no browsers send no `Origin`, and addresses that are numbers cannot be rebound: both are answered.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from being.api.problems import response
from being.server.problems import Problem

DEFAULT_PORTS = {"http": 80, "https": 443}
FOREIGN = ("cross-site", "same-site")  # of Sec-Fetch-Site; a site's other ports and subdomains are others, too
REFUSED = 1008  # close code where the server cannot answer a WebSocket's request with a problem

_HOST = re.compile(r"\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://(\*\.)?[^\s/*?#@]+")


class Access(BaseModel):
    """What is answered beyond this machine's own names and the server's own pages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: tuple[str, ...] = Field(default=(), description="Further names of the server: being.example.org, *.lan, *")
    origins: tuple[str, ...] = Field(
        default=(), description="Pages elsewhere that may use it: https://app.example.org, https://*.example.org, *"
    )

    @field_validator("hosts")
    @classmethod
    def _names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        hosts = tuple(host.strip().lower().rstrip(".") for host in hosts)
        for host in hosts:
            if not _is_address(host) and _HOST.fullmatch(host) is None:
                raise ValueError(f"{host!r} is no host name; write it without scheme and port, like being.example.org")
        return hosts

    @field_validator("origins")
    @classmethod
    def _pages(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        origins = tuple(origin.strip().lower().rstrip("/") for origin in origins)
        for origin in origins:
            if _ORIGIN.fullmatch(origin) is None:
                raise ValueError(f"{origin!r} is no origin; write scheme and host, like https://app.example.org")
        return origins


class OriginGuard:
    """ASGI middleware: requests that `Access` does not allow end here; allowed foreign pages get their CORS headers.

    Parameters
    ----------
    app : what is guarded, HTTP and WebSocket.
    access : see there.
    names : of this machine; its host name where None.
    """

    def __init__(self, app: ASGIApp, access: Access, names: Iterable[str] | None = None) -> None:
        own = own_names() if names is None else names
        self._hosts = re.compile("|".join(_pattern(name) for name in (*own, *access.hosts)) or "(?!)")
        self._origins = re.compile("|".join(_pattern(origin) for origin in access.origins) or "(?!)")
        self._framers = " ".join(("'self'", *(origin for origin in access.origins if origin != "null")))
        # What reaches it was let in, so that whatever origin it sees may read the answer.
        self._app = CORSMiddleware(
            app,
            allow_origin_regex=".*",
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("*",),
            expose_headers=("Retry-After",),
            allow_private_network=True,
        )
        self._own = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._own(scope, receive, send)
            return
        headers = Headers(scope=scope)
        page = page_of(headers)
        problem = self.problem(headers.getlist("host"), page)
        if problem is not None:
            await _refuse(problem, scope, receive, send)
        elif scope["type"] == "websocket":
            await self._own(scope, receive, send)
        else:
            own = page is None or same_origin(page, headers.get("host", ""))
            await (self._own if own else self._app)(scope, receive, self._marked(send, own))

    def problem(self, hosts: list[str], page: str | None) -> Problem | None:
        """Why a request to these `Host` headers, made for a page of this origin or for none, is not answered."""
        if len(hosts) > 1:
            return Problem(400, "the request names several hosts")
        host = hosts[0] if hosts else ""  # none: HTTP/1.0, which browsers do not speak
        name, _ = _split(host)
        if host and not (_is_address(name) or is_loopback(name) or self._hosts.fullmatch(name)):
            return Problem(
                421,
                f"this server does not go by the name {name!r}",
                f"Use its address, or start it with --allow-host {name or 'NAME'}",
            )
        if page is None or same_origin(page, host) or self._origins.fullmatch(page.lower()):
            return None
        if page.lower().startswith(("http://", "https://")) and is_loopback(name) and is_loopback(_name(page)):
            return None  # another port of the machine on which the browser and this server are
        return Problem(403, f"pages of {page} may not use this server", f"Start it with --allow-origin {page}")

    def _marked(self, send: Send, own: bool) -> Send:
        """Only allowed pages may frame an answer, or embed it without asking to read it."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", f"frame-ancestors {self._framers}")
                if own:
                    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
                    headers.add_vary_header("Origin")
            await send(message)

        return marked


def page_of(headers: Headers) -> str | None:
    """Origin of the page for which a browser sends this; None for other programs, links followed, addresses typed.

    Pictures and scripts are asked for without `Origin`: `Sec-Fetch-Site` tells that the page is another's, `Referer`
    whose.
    """
    if (origin := headers.get("origin")) is not None:
        return origin
    if headers.get("sec-fetch-site") not in FOREIGN or headers.get("sec-fetch-mode") == "navigate":
        return None
    referer = headers.get("referer", "")
    scheme, separator, rest = referer.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if separator else "null"


def same_origin(page: str, host: str) -> bool:
    """Whether a page of this origin came from this `Host`; the scheme may differ, for a proxy may end TLS."""
    scheme = page.partition("://")[0].lower()
    if scheme not in DEFAULT_PORTS:
        return False
    (name, port), (own, own_port) = _split(_netloc(page)), _split(host)
    default = DEFAULT_PORTS[scheme]
    return bool(name) and (name, port or default) == (own, own_port or default)


def own_names() -> tuple[str, ...]:
    """This machine's host name, and the name it has in a local network."""
    name = socket.gethostname().lower().rstrip(".")
    return (name, f"{name}.local") if name and "." not in name else (name,) if name else ()


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine's to itself."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    return _is_address(name) and ip_address(name.strip("[]")).is_loopback


def _netloc(page: str) -> str:
    """Host and port of an origin as they stand in `Host`; "" where it has none."""
    try:
        return urlsplit(page).netloc
    except ValueError:
        return ""


def _name(page: str) -> str:
    return _split(_netloc(page))[0]


def _split(netloc: str) -> tuple[str, int | None]:
    """Name (lower case, without the dot that may end it) and port of a `Host` header; no name where it is malformed."""
    match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]*)(?::(\d{1,5}))?", netloc.lower())
    if match is None:
        return "", None
    return match[1].removesuffix("."), int(match[2]) if match[2] else None


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _pattern(listed: str) -> str:
    """A name or origin of the list as a regular expression: `*` alone is anything, `*.` any subdomain."""
    return ".*" if listed == "*" else re.escape(listed).replace(r"\*\.", r"[^/:@]+\.")


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    answer = response(problem)
    if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
        await answer(scope, receive, send)  # Starlette sends it as the answer to a WebSocket's request, too
    else:
        await send({"type": "websocket.close", "code": REFUSED, "reason": problem.details.detail[:100]})
