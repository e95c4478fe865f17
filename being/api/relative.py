"""Every address that the server gives is relative: it may live under a path that only a proxy before it knows.

A proxy that hands on `/being/...` as `/...` says nothing of `/being`; a `route_prefix` of Ray Serve is in `root_path`.
Either way the address of an answer, resolved against the one that was asked for (RFC 3986, 5), leads where it should.
"""

from __future__ import annotations

import posixpath
from urllib.parse import urlsplit

from fastapi import APIRouter
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> HTMLResponse:
    return get_swagger_ui_html(openapi_url="openapi.json", title="Being")


@router.get("/redoc")
async def redoc() -> HTMLResponse:
    return get_redoc_html(openapi_url="openapi.json", title="Being")


def relative(target: str, asked: str) -> str:
    """The path `target` as seen from the path `asked`; both absolute."""
    folder, name = posixpath.split(target)
    up = posixpath.relpath(folder, posixpath.dirname(asked))
    return f"{up}/{name}"


class RelativeAddresses:
    """ASGI middleware: redirects to the server itself become relative."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def relating(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                target = urlsplit(headers.get("location", ""))
                if target.path.startswith("/"):
                    query = f"?{target.query}" if target.query else ""
                    headers["location"] = relative(target.path, scope["path"]) + query
            await send(message)

        await self._app(scope, receive, relating)
