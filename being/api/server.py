"""The app: every route, every error a problem, the page at `/`; the service it serves is opened and closed with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from being import __version__
from being.api import avatars, backgrounds, health, live_socket, problems, relative, sessions, speak
from being.api.origin import Access, OriginGuard
from being.server.service import Service

PAGE = Path(__file__).parent / "page"
SAMPLE = Path(__file__).parent.parent / "samples" / "hello.wav"

DESCRIPTION = """
Clone a person from a short video and play that person live.

**Live**: `WS /v1/avatars/{id}/live` (not listed below, for OpenAPI knows no WebSockets; see docs/serving.md). Up:
signed 16-bit PCM in binary messages of any size, and JSON `configure`, `interrupt`, `end`, `received`. Down:
fragmented MP4 or JPEG, and the JSON events `ready`, `started`, `speaking`, `idle`, `interrupted`, `stats`, `error`.

**Errors** are JSON problems (RFC 9457) with a `remedy`.
"""


def create_app(service: Service, access: Access | None = None) -> FastAPI:
    """The ASGI app over a service that is not open yet, answering whom `access` lets in."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.open()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="Being",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages name the schema by an absolute path
        redoc_url=None,
        servers=[{"url": "."}],  # beside the schema
        root_path_in_servers=False,
    )
    app.state.service = service
    app.add_middleware(relative.RelativeAddresses)
    app.add_middleware(OriginGuard, access=access or Access())
    problems.install(app)
    for part in (relative, health, avatars, backgrounds, sessions, speak, live_socket):
        app.include_router(part.router)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/page/hello.wav", include_in_schema=False)
    async def sample() -> FileResponse:
        return FileResponse(SAMPLE, media_type="audio/wav")

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app
