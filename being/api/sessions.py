"""`/v1/sessions`: who is being played right now."""

from __future__ import annotations

from fastapi import APIRouter, Request

from being.api.problems import documented
from being.api.schemas import SessionList
from being.server.schemas import SessionInfo
from being.server.service import Service
from being.server.session_registry import no_session

router = APIRouter(tags=["sessions"])


@router.get("/v1/sessions", summary="All live sessions")
async def sessions(request: Request) -> SessionList:
    service: Service = request.app.state.service
    return SessionList(sessions=await service.listing())


@router.get("/v1/sessions/{session_id}", summary="One live session", responses=documented(404, 422))
async def session(request: Request, session_id: str) -> SessionInfo:
    service: Service = request.app.state.service
    for info in await service.listing():
        if info.id == session_id:
            return info
    raise no_session(session_id)
