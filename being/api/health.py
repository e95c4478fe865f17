"""Whether the server lives, whether it can take work, and what it measures."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from being.api.problems import documented
from being.api.schemas import Health, Readiness
from being.server.problems import Problem
from being.server.refusals import RETRY_AFTER_S
from being.server.service import Service

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="The process lives", responses=documented(503))
async def healthz(request: Request) -> Health:
    service: Service = request.app.state.service
    if not service.frame_loop.alive:
        raise Problem(503, "the frame loop has stopped", retry_after=RETRY_AFTER_S)
    return Health(status="ok")


@router.get("/readyz", summary="An avatar can be played", responses=documented(503))
async def readyz(request: Request) -> Readiness:
    """Ready when at least one avatar loads in the graph; also says how many more sessions would fit."""
    service: Service = request.app.state.service
    playable = service.avatars.manifests()
    if not playable:
        raise Problem(503, "there is no avatar to play", "Train one: being fit", retry_after=RETRY_AFTER_S)
    first = playable[0].id
    await service.avatars.prepare(first, service.graph)
    cost = service.slots.frame_s(first)
    room = await service.room(first)
    return Readiness(
        status="ready",
        avatars=len(playable),
        sessions=len(await service.listing()),
        frame_ms=round(1000 * cost, 2) if cost is not None else None,
        room=room.in_all,
        workers=dict(room.by_worker),
    )


@router.get("/metrics", summary="Prometheus metrics of all session workers", response_class=PlainTextResponse)
async def metrics(request: Request) -> PlainTextResponse:
    service: Service = request.app.state.service
    return PlainTextResponse(await service.metrics(), media_type="text/plain; version=0.0.4")
