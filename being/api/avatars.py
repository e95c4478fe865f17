"""`/v1/avatars`: what this server can play, rescanned while it runs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from being.api.problems import documented
from being.api.schemas import AvatarDetail, AvatarList, BrokenFolder, detail, summary
from being.server.problems import Problem
from being.server.service import Service

router = APIRouter(tags=["avatars"])


@router.get("/v1/avatars", summary="All avatars")
def avatars(request: Request) -> AvatarList:
    """Folders that look like an avatar and are not are named beside them: one damaged folder hides no other."""
    service: Service = request.app.state.service
    library = service.avatars.library
    return AvatarList(
        avatars=[
            summary(entry.manifest, servable=service.avatars.may_serve(entry.manifest)) for entry in library.entries()
        ],
        broken=[BrokenFolder(name=broken.folder.name, problem=broken.error.problem) for broken in library.broken()],
    )


@router.get("/v1/avatars/{avatar_id}", summary="One avatar", responses=documented(403, 404, 422))
def avatar(request: Request, avatar_id: str) -> AvatarDetail:
    service: Service = request.app.state.service
    return detail(service.avatars.manifest(avatar_id), servable=True)


@router.get(
    "/v1/avatars/{avatar_id}/preview.jpg",
    summary="Its picture",
    response_class=FileResponse,
    responses={200: {"content": {"image/jpeg": {}}}, **documented(403, 404, 422)},
)
def preview(request: Request, avatar_id: str) -> FileResponse:
    service: Service = request.app.state.service
    service.avatars.manifest(avatar_id)
    path = service.avatars.library.get(avatar_id).folder / "preview.jpg"
    if not path.is_file():
        raise Problem(404, f"avatar {avatar_id!r} has no preview")
    return FileResponse(path, media_type="image/jpeg", headers={"Cache-Control": "max-age=60"})
