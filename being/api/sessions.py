"""`/v1/sessions`: who is being played right now."""

from __future__ import annotations

from fastapi import APIRouter, Request

from being.api.problems import documented
from being.api.schemas import SessionList
from being.server.schemas import SessionInfo
from being.server.service import Service

router = APIRouter(tags=["sessions"])


@router.get("/v1/sessions", summary="All live sessions")
async def sessions(request: Request) -> SessionList:
    service: Service = request.app.state.service
    return SessionList(sessions=[client.info() for client in service.sessions.all()])


@router.get("/v1/sessions/{session_id}", summary="One live session", responses=documented(404, 422))
async def session(request: Request, session_id: str) -> SessionInfo:
    service: Service = request.app.state.service
    return service.sessions.get(session_id).info()
