"""`WS /v1/avatars/{id}/live`: PCM and JSON controls up; pictures, sound and JSON events down.

Whatever goes wrong is said in an `error` event before the connection closes, for browsers hide the HTTP status of a
refused WebSocket: its `problem` has the status and `retry_after` an HTTP client would get.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from being.errors import BeingError
from being.server.client_session import ClientSession
from being.server.client_stream import ClientStream
from being.server.liveness import Gone, Moved, Superseded
from being.server.problems import Problem
from being.server.schemas import Configure, End, Interrupt, LiveFormat, LiveOptions, Received, client_message
from being.server.service import Service
from being.server.transport import Acknowledged

GOODBYES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010)  # close codes after which nobody comes back
TRY_AGAIN, TOO_BIG, POLICY, INTERNAL = 1013, 1009, 1008, 1011
MOVED = 1012  # "service restart": connect again at once, with the session's token
REFUSED = 4000  # plus the HTTP status
MISTAKES = 50  # messages without sense before the connection is closed

log = logging.getLogger(__name__)

router = APIRouter()


class WebSocketTransport:
    """Events as text messages, the stream as binary ones; `received` messages are its feedback."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    def open(self, format: LiveFormat, width: int, height: int) -> ClientStream:
        return ClientStream(format, width, height)

    async def send(self, piece: bytes) -> None:
        await self._socket.send_bytes(piece)

    async def send_event(self, event: Mapping[str, Any]) -> None:
        await self._socket.send_text(json.dumps(event))


class _Fatal(Exception):
    """Ends the connection after saying why."""

    def __init__(self, problem: Problem, code: int) -> None:
        self.problem = problem
        self.code = code


@router.websocket("/v1/avatars/{avatar_id}/live")
async def live(socket: WebSocket, avatar_id: str) -> None:
    service: Service = socket.app.state.service
    await socket.accept()
    try:
        client = await _enter(socket, avatar_id, service)
    except Problem as problem:
        code = TRY_AGAIN if problem.details.status == 503 else REFUSED + problem.details.status
        await _close(socket, code, problem)
        return
    except Moved:
        await socket.close(MOVED)
        return
    except WebSocketDisconnect:
        return
    await _serve(socket, client, service)


async def _enter(socket: WebSocket, avatar_id: str, service: Service) -> ClientSession:
    try:
        options = LiveOptions.model_validate(dict(socket.query_params))
    except ValidationError as error:
        raise Problem.invalid(error) from None
    try:
        return await service.enter(avatar_id, options)
    except BeingError as error:
        raise Problem.of(error, 422) from None


async def _serve(socket: WebSocket, client: ClientSession, service: Service) -> None:
    """Send and receive side by side until one of them ends."""
    sending = asyncio.create_task(client.serve(WebSocketTransport(socket)))
    receiving = asyncio.create_task(_receive(socket, client, service))
    gone_on, may_return = False, True
    try:
        await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
        for task in (sending, receiving):
            task.cancel()
        for outcome in await asyncio.gather(sending, receiving, return_exceptions=True):
            if isinstance(outcome, WebSocketDisconnect):
                may_return = outcome.code not in GOODBYES
            elif isinstance(outcome, Superseded):
                gone_on = True
            elif isinstance(outcome, Moved):
                gone_on = True
                await _close(socket, MOVED)
            elif isinstance(outcome, Gone):
                await _close(socket, POLICY, Problem(408, str(outcome)))
            elif isinstance(outcome, _Fatal):
                may_return = False
                await _close(socket, outcome.code, outcome.problem)
            elif isinstance(outcome, Exception) and not _is_connection_loss(outcome):
                log.error("session %s failed", client.session.id, exc_info=outcome)
                await _close(socket, INTERNAL, Problem(500, "the server failed; its log says why"))
    finally:
        sending.cancel()
        receiving.cancel()
        if not gone_on:
            service.detach(client, may_return=may_return)


async def _receive(socket: WebSocket, client: ClientSession, service: Service) -> None:
    mistakes = 0
    limit = service.limits.message_bytes
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1005, message.get("reason"))
        data, text = message.get("bytes"), message.get("text")
        if max(len(data or b""), len(text or "")) > limit:
            raise _Fatal(Problem(413, f"a message is larger than {limit} bytes", "Send sound in chunks"), TOO_BIG)
        if data is not None:
            await client.push_audio(data)
            continue
        try:
            await _dispatch(client, _parsed(text or ""), service)
        except Problem as problem:
            mistakes += 1
            if mistakes >= MISTAKES:
                raise _Fatal(problem, POLICY) from None
            client.refuse(problem)
        except BeingError as error:
            client.refuse(Problem.of(error, 422))


def _parsed(text: str) -> Configure | Interrupt | End | Received:
    try:
        message = json.loads(text)
        return _received(message) or client_message.validate_python(message)
    except ValidationError as error:
        raise Problem.invalid(error) from None
    except (ValueError, RecursionError):
        raise Problem(400, "the message is not JSON", 'Send one object, for example {"type": "interrupt"}') from None


def _received(message: Any) -> Received | None:
    """The message that comes with every frame, without a validation that costs more than the rest of its way."""
    if isinstance(message, dict) and message.keys() == {"type", "bytes"} and message["type"] == "received":
        count = message["bytes"]
        if type(count) is int and count >= 0:
            return Received.model_construct(type="received", bytes=count)
    return None


async def _dispatch(client: ClientSession, message: Configure | Interrupt | End | Received, service: Service) -> None:
    if isinstance(message, Received):
        client.feedback(Acknowledged(message.bytes))
    elif isinstance(message, Interrupt):
        client.interrupt()
        service.frame_loop.interrupted()
    elif isinstance(message, End):
        client.end()
    else:
        if message.background is not None:
            await service.know_background(message.background)
        client.configure(message)


async def _close(socket: WebSocket, code: int, problem: Problem | None = None) -> None:
    """Say what is wrong, then close; a client that is gone already does not matter."""
    try:
        if socket.application_state is WebSocketState.CONNECTED:
            if problem is not None:
                await socket.send_text(json.dumps({"type": "error", "fatal": True, "problem": problem.body()}))
            await socket.close(code, problem.details.detail[:100] if problem is not None else None)
    except Exception as error:
        if not _is_connection_loss(error):
            raise


def _is_connection_loss(error: BaseException) -> bool:
    """Servers differ in what they raise when the far end is gone; Starlette wraps some of it in RuntimeError."""
    return isinstance(error, WebSocketDisconnect | OSError | RuntimeError)
