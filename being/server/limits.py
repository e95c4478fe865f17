"""What one client may ask for, and reading an upload without ever holding more than that."""

from __future__ import annotations

import asyncio
import tempfile
from typing import BinaryIO, cast

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from being.server.problems import Problem

IN_MEMORY = 4 << 20  # bytes of an upload kept in memory; the rest goes to a temporary file
MULTIPART_FIELD = "audio"
PICTURE_FIELD = "picture"
MIB = 1 << 20


class ServingLimits(BaseModel):
    """Bounds of what a server does for its clients."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upload_bytes: int = Field(default=200 * MIB, gt=0)
    upload_s: float = Field(default=120.0, gt=0, description="An upload that takes longer is given up")
    picture_bytes: int = Field(default=16 * MIB, gt=0, description="Largest picture for a background")
    sound_s: float = Field(default=600.0, gt=0, description="Longest sound of one `speak`")
    side: int = Field(default=1024, ge=64, description="Largest width or height of a picture")
    sessions: int = Field(default=64, ge=1, description="Live sessions of one ingress, whatever they cost")
    speaking: int = Field(default=2, ge=1, description="`speak` requests worked on at once")
    message_bytes: int = Field(default=MIB, gt=0, description="Largest WebSocket message a client may send")
    buffered_s: float = Field(default=120.0, gt=0, description="Sound of one session that may wait to be heard")
    window_bytes: int = Field(default=2 * MIB, gt=0, description="Sent and not acknowledged by a live client")
    gone_s: float = Field(default=10.0, gt=0, description="A live client silent for so long is let go")
    serve_unconsented: bool = Field(default=False, description="Play avatars whose consent record is missing")


async def receive_upload(request: Request, limit: int, seconds: float, field: str = MULTIPART_FIELD) -> BinaryIO:
    """The body, or the file of its multipart field, as a file at its start; the caller closes it.

    Raises
    ------
    Problem
        413 where it is larger than `limit` bytes (before reading anything, if the client states its size), 400 where
        it is empty or broken, 408 where it takes longer than `seconds`.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > limit:
        raise _too_large(limit)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(seconds):
            if kind == "multipart/form-data":
                return await _multipart_file(request, limit, field)
            return await _whole_body(request, limit)
    except TimeoutError:
        raise Problem(
            408, f"the upload took longer than {seconds:g} s", "Send less", headers={"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Problem(400, "the upload broke off") from None


async def _whole_body(request: Request, limit: int) -> BinaryIO:
    file = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=IN_MEMORY))  # noqa: SIM115 - handed over
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                raise _too_large(limit)
            file.write(chunk)
        if not received:
            raise Problem(400, "the body is empty", "Send a file as the body")
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


async def _multipart_file(request: Request, limit: int, field: str) -> BinaryIO:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(limit)
        return message

    try:
        form = await Request(request.scope, counted).form(max_files=1, max_fields=8)
    except MultiPartException as error:
        raise Problem(400, f"the multipart body is broken: {error.message}") from None
    except (KeyError, UnicodeError):
        raise Problem(400, "the multipart body is broken", "State its boundary in Content-Type") from None
    part = form.get(field)
    if not isinstance(part, UploadFile):
        await form.close()
        raise Problem(400, f"the form has no file {field!r}", f"Send the file as {field!r}")
    if not part.size:
        await form.close()
        raise Problem(400, f"the file {field!r} is empty", "Send one that is not")
    await part.seek(0)
    return part.file


def _too_large(limit: int) -> Problem:
    # The connection cannot be used again: the rest of the body is never read.
    return Problem(
        413,
        f"the upload is larger than {limit / MIB:g} MiB",
        "Send less, or compress it",
        headers={"Connection": "close"},
    )
