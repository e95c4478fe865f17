"""Reading an upload without ever holding more than a client may send."""

from __future__ import annotations

import asyncio
import tempfile
from typing import BinaryIO, cast

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from being.server.limits import MIB
from being.server.problems import Problem

IN_MEMORY = 4 << 20  # bytes of an upload kept in memory; the rest goes to a temporary file
MULTIPART_FIELD = "audio"
PICTURE_FIELD = "picture"


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
