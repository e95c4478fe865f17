"""`POST /v1/avatars/{id}/speak`: a sound in, the talking picture out, streamed while it is made."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from being.api.problems import documented
from being.api.schemas import SpeakFormat
from being.api.uploads import MULTIPART_FIELD, receive_upload
from being.errors import BeingError
from being.inference.compositing import Transparent
from being.inference.frames import PixelFormat
from being.live.requests import OutputFormat
from being.media.contract import StreamFormat
from being.media.fmp4 import Fmp4Writer
from being.media.jpeg_sink import JpegSink
from being.media.media_sink import MediaSink
from being.media.reading.sound_file import Sound
from being.media.reading.sound_reader import read_sound
from being.media.webm_stream import WebmStreamWriter
from being.media.writer_sink import WriterSink
from being.server.limits import check_size
from being.server.problems import Problem
from being.server.refine_strength import strength_for
from being.server.schemas import Background, Side, Strength
from being.server.service import Service
from being.server.speech_job import Emit, SpeechJob

FRAMES_PER_FRAGMENT = 5
BOUNDARY = "being-frame"
NOTES_HEADER = "Being-Notes"
NOTES_BYTES = 4000  # of that header: proxies allow 8 KiB for all of them
MEDIA_TYPES = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mjpeg": f"multipart/x-mixed-replace; boundary={BOUNDARY}",
}

BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "audio/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [MULTIPART_FIELD],
                    "properties": {MULTIPART_FIELD: {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The talking avatar, streamed while it is made",
        "content": {kind.partition(";")[0]: {} for kind in MEDIA_TYPES.values()},
        "headers": {
            NOTES_HEADER: {
                "description": "What was repaired or chosen in the sound: a JSON list of sentences, left out if empty",
                "schema": {"type": "string"},
            }
        },
    }
}

log = logging.getLogger(__name__)

router = APIRouter(tags=["speak"])


@router.post(
    "/v1/avatars/{avatar_id}/speak",
    summary="A sound in, the talking avatar out",
    openapi_extra=BODY,
    responses={**ANSWER, **documented(400, 403, 404, 408, 409, 413, 422, 503)},
    response_class=StreamingResponse,
)
async def speak(
    request: Request,
    avatar_id: str,
    width: Annotated[Side | None, Query(description="Pixels; as recorded if left out")] = None,
    height: Annotated[Side | None, Query(description="Pixels; as recorded if left out")] = None,
    background: Annotated[Background, Query()] = "plate",
    format: Annotated[SpeakFormat, Query(description="`mjpeg` is silent")] = "mp4",
    audio_track: Annotated[
        int | None,
        Query(ge=1, description="Which sound track, from 1; the default one, or the first not silent, if left out"),
    ] = None,
    refine: Annotated[Strength | None, Query(description="Strength of the refiner; of the server if left out")] = None,
) -> StreamingResponse:
    """Send any sound or video file, as the body or as the multipart field `audio`; a fragmented MP4 (H.264, AAC) comes
    back while it is drawn. `webm` (VP9, Opus) can be transparent: `background=none`. What was repaired or chosen in the
    sound is told in the header `Being-Notes`."""
    started = time.monotonic()
    service: Service = request.app.state.service
    manifest = service.avatars.manifest(avatar_id)
    await service.know_background(background)
    output = _output_format(width or manifest.width, height or manifest.height, background, format, service)
    service.speech_slots.take()
    try:
        upload = await receive_upload(request, service.limits.upload_bytes, service.limits.upload_s)
        sound = await asyncio.to_thread(_decode, upload, service.limits.sound_s, audio_track)
        facts = await service.avatars.prepare(avatar_id, service.offline)
        output = replace(output, refine=strength_for(facts, refine))
        open_sink = partial(_open_sink, format, output, sound.playback_pcm.shape[1])
        job = SpeechJob(service.offline, service.pool, facts, output, sound.model_pcm, sound.playback_pcm, open_sink)
        await job.open()
    except BaseException as error:
        service.speech_slots.release()
        if isinstance(error, BeingError):
            raise Problem.of(error, 422) from None
        raise

    async def body() -> AsyncIterator[bytes]:
        first = True
        try:
            async for piece in job.pieces():
                yield piece
                if first:
                    service.meter.observe("being_speak_seconds", time.monotonic() - started, until="first byte")
                    first = False
            service.meter.observe("being_speak_seconds", time.monotonic() - started, until="end")
        finally:
            service.speech_slots.release()
            await job.close()

    headers = {"Cache-Control": "no-store", **_notes_header(sound)}
    return StreamingResponse(body(), media_type=MEDIA_TYPES[format], headers=headers)


def _output_format(width: int, height: int, background: str, format: SpeakFormat, service: Service) -> OutputFormat:
    width, height = width - width % 2, height - height % 2
    check_size(width, height, service.limits)
    if background == "none" and format != "webm":
        raise Problem(422, f"{format} cannot be transparent", "Choose format=webm, or another background")
    pixel_format = PixelFormat.YUV420 if format == "mp4" else PixelFormat.RGB
    return OutputFormat(width, height, service.backgrounds.named(background), pixel_format)


def _decode(upload: BinaryIO, limit_s: float, track: int | None) -> Sound:
    """The sound of an upload, which is closed. What was repaired is logged."""
    with upload:
        sound = read_sound(upload, track=track, limit_s=limit_s)
    for note in sound.notes:
        log.info("speak: %s", note)
    return sound


def _notes_header(sound: Sound) -> dict[str, str]:
    """The notes as a JSON list in ASCII, as many as a header may hold."""
    said = [str(note) for note in sound.notes]
    while said and len(json.dumps(said)) > NOTES_BYTES:
        said.pop()
    return {NOTES_HEADER: json.dumps(said)} if said else {}


def _open_sink(format: SpeakFormat, output: OutputFormat, channels: int, emit: Emit) -> MediaSink:
    if format == "mjpeg":
        return JpegSink(partial(_emit_part, emit))
    stream = StreamFormat(output.width, output.height, sound_channels=channels)
    clear = isinstance(output.background, Transparent)
    if format == "webm":
        return WriterSink(WebmStreamWriter(emit, stream, alpha=clear), alpha=clear)
    return WriterSink(Fmp4Writer(emit, stream, frames_per_fragment=FRAMES_PER_FRAGMENT))


def _emit_part(emit: Emit, index: int, jpeg: bytes) -> None:
    """One picture as a part of multipart/x-mixed-replace."""
    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    emit(head.encode() + jpeg + b"\r\n")
