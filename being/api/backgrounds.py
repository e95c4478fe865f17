"""`POST /v1/backgrounds`: a picture to stand behind avatars."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from being.api.problems import documented
from being.api.uploads import PICTURE_FIELD, receive_upload
from being.errors import InputError
from being.server.problems import Problem
from being.server.schemas import MadeBackground
from being.server.service import Service

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [PICTURE_FIELD],
                    "properties": {PICTURE_FIELD: {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}

router = APIRouter(tags=["backgrounds"])


@router.post(
    "/v1/backgrounds",
    summary="A picture to stand behind avatars",
    status_code=201,
    openapi_extra=BODY,
    responses=documented(400, 408, 413, 422),
)
async def add(request: Request) -> MadeBackground:
    """Send a JPEG, PNG or WebP file, as the body or as the multipart field `picture`. The answer's `background` can be
    named in `speak`, in the query of a live connection and in its `configure`."""
    service: Service = request.app.state.service
    upload = await receive_upload(request, service.limits.picture_bytes, service.limits.upload_s, PICTURE_FIELD)
    try:
        made = await service.backgrounds.add(upload)
    except InputError as error:
        raise Problem.of(error, 422) from None
    await service.share_background(made.background)
    return made
