"""What a running server goes through: its start, a video, an interruption, a dead renderer, clients that drop by the
hundred, an avatar that appears. Each function answers with what it measured."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
import wave
from pathlib import Path
from typing import Any

import av
import click
import httpx
import numpy as np
from live_client import ACKNOWLEDGE_S, FPS, RATE, Recording, alignment, converse, decoded, frame_arrivals
from raw_client import copy_avatar, wav
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from being.media.reading.sound_reader import open_sound

AUDIBLE = 0.01
PATIENCE_S = 300.0  # how long a full server is asked again
FRESH_FPS = 12  # distinct frames of a second in which a session plays again


async def interrupted(url: str, speech: np.ndarray) -> dict[str, float]:
    recording = Recording()
    pcm = (np.clip(speech[: 10 * RATE], -1, 1) * 32767).astype("<i2").tobytes()
    async with await admitted(url) as socket:
        started = time.monotonic()
        said = interrupted_at = None
        acknowledged, received = 0.0, 0
        while time.monotonic() - started < 7:
            message = await socket.recv()
            now = time.monotonic()
            if isinstance(message, str):
                recording.events.append((now, json.loads(message)))
            else:
                recording.pieces.append((now, message))
                received += len(message)
            if now - acknowledged > ACKNOWLEDGE_S:
                acknowledged = now
                await socket.send(json.dumps({"type": "received", "bytes": received}))
            if said is None and now - started > 1.5:
                said = now
                await socket.send(pcm)
            if interrupted_at is None and now - started > 4.0:
                interrupted_at = now
                await socket.send('{"type": "interrupt"}')
    assert interrupted_at is not None
    first = next(event["frame"] for _, event in recording.events if event["type"] == "started")
    answered, cut = next((when, event) for when, event in recording.events if event["type"] == "interrupted")
    cut_frame = cut["frame"] - first
    arrivals = frame_arrivals(recording)
    seen_before = max(frame for frame, when in arrivals.items() if when <= interrupted_at)
    _, _, sound = decoded(recording.stream)
    old_sound = np.flatnonzero(np.abs(sound) > AUDIBLE)[-1] / RATE
    return {
        "answer_ms": round(1000 * (answered - interrupted_at), 1),
        "shutting_frame_after_frames": cut_frame - seen_before,
        "shutting_frame_arrived_ms": round(1000 * (arrivals[cut_frame] - interrupted_at), 1),
        # Time zero for the client: the newest frame it had when it said stop.
        "old_sound_beyond_ms": round(1000 * max(0.0, old_sound - (seen_before + 1) / FPS), 1),
    }


def killed(url: str, speech: np.ndarray, seconds: float) -> dict[str, Any]:
    """The renderer's replica is killed while a session speaks."""

    async def scenario() -> tuple[Recording, float]:
        await (await admitted(url)).close()  # there is room now; the session itself comes next

        async def killer() -> float:
            await asyncio.sleep(8.0)
            os.kill(replica("Renderer"), signal.SIGKILL)
            return time.monotonic()

        recording, killed = await asyncio.gather(converse(url, speech, seconds), killer())
        return recording, killed

    recording, killed = asyncio.run(scenario())
    frames, _, sound = decoded(recording.stream)
    offsets, match = alignment(recording.speech[: recording.sent[-1][1]], sound)
    # An encoder polishes a picture that is shown again, so repeats cannot be told from the stream: the server counts.
    stats = [(when - killed, event["repeats"]) for when, event in recording.events if event["type"] == "stats"]
    before = max((repeats for when, repeats in stats if when <= 0), default=0)
    rates = [(when - killed, event["fps"]) for when, event in recording.events if event["type"] == "stats"]
    still = [when for when, fps in rates if when > 0 and fps < FRESH_FPS]
    again = [when for when, fps in rates if still and when > still[0] and fps >= FRESH_FPS]
    moved = np.diff(offsets[offsets >= 0])
    return {
        "frames": len(frames),
        "repeated": stats[-1][1] - before,
        "fresh_again_after_s": round(again[0], 1) if again else None,
        "sound_match": round(match, 3),
        "sound_parts_found": f"{int(np.sum(offsets >= 0))} of {len(offsets)}",
        "sound_moved_ms": round(1000 * float(np.abs(moved).max()) / RATE, 1),
    }


async def drop(url: str, count: int) -> None:
    """Connect, wait for the first picture, leave; every second time without goodbye."""
    number = 0
    while number < count:
        socket = await connect(url, max_size=None, compression=None)
        try:
            while isinstance(await socket.recv(), str):
                pass
        except ConnectionClosed:  # no room: the server has not noticed yet that the one before is gone
            await asyncio.sleep(0.2)
            continue
        number += 1
        if number % 2:
            await socket.close()
        else:
            socket.transport.abort()


def reading(http: str) -> dict[str, Any]:
    """What the server's processes on this machine hold, and its sessions."""
    found: dict[str, Any] = {}
    for name in ("Ingress", "Renderer", "AudioEncoder", "ProxyActor"):
        process = replica(name, required=False)
        if process is not None:
            status = Path(f"/proc/{process}/status").read_text()
            values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            found[name] = {
                "rss_mib": int(values["VmRSS"].split()[0]) // 1024,
                "threads": int(values["Threads"]),
                "descriptors": len(os.listdir(f"/proc/{process}/fd")),
            }
    with urllib.request.urlopen(f"{http}/v1/sessions", timeout=10) as answer:
        found["sessions"] = len(json.load(answer)["sessions"])
    return found


def replica(name: str, *, required: bool = True) -> int | None:
    """Process id of a deployment's replica on this machine."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if title.startswith("ray::") and name in title:
            return int(folder.name)
    if required:
        raise click.ClickException(f"no replica of {name} runs on this machine")
    return None


def started(command: list[str], http: str, log: Path, patience_s: float = 300.0) -> tuple[dict[str, Any], int]:
    """Run a command that serves; seconds until the server answers and until it is ready, and the process's id."""
    begun = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, env=environment
        )
    found: dict[str, Any] = {}
    while time.monotonic() - begun < patience_s:
        if process.poll() is not None:
            raise click.ClickException(f"{command[0]} ended with status {process.returncode}; see {log}")
        try:
            for name in ("healthz", "readyz"):
                if name not in found:
                    with urllib.request.urlopen(f"{http}/{name}", timeout=60) as answer:
                        answer.read()
                    found[name] = round(time.monotonic() - begun, 1)
        except OSError:
            time.sleep(0.1)
            continue
        return {"answers_after_s": found["healthz"], "ready_after_s": found["readyz"]}, process.pid
    raise click.ClickException(f"not ready within {patience_s:g} s; see {log}")


def spoken(url: str, sound: Path, seconds: float) -> dict[str, Any]:
    """A video of `seconds` of a sound, said again if shorter: when it could be seen, how fast it came, if whole."""
    speech = np.resize(open_sound(sound).model_pcm(), round(seconds * RATE))
    body = io.BytesIO()
    with wave.open(body, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(speech, -1, 1) * 32767).astype("<i2").tobytes())
    video, first_picture = b"", None
    begun = time.monotonic()
    with httpx.stream("POST", url, content=body.getvalue(), timeout=PATIENCE_S) as answer:
        if answer.status_code != 200:
            raise click.ClickException(answer.read().decode())
        arrivals = []
        for piece in answer.iter_raw():
            video += piece
            arrivals.append((time.monotonic() - begun, len(video)))
    whole = time.monotonic() - begun
    for when, size in arrivals:
        if _pictures(video[:size], 1):
            first_picture = when
            break
    frames, _, heard = decoded(video)
    offsets, match = alignment(speech, heard)
    found = offsets[offsets >= 0]
    return {
        "first_picture_s": round(first_picture, 3) if first_picture is not None else None,
        "whole_s": round(whole, 2),
        "times_real_time": round(len(speech) / RATE / whole, 2),
        "frames": len(frames),
        "frames_of_sound": round(len(speech) / RATE * FPS, 2),
        "frames_follow_each_other": frames == list(range(frames[0], frames[0] + len(frames))),
        "size": "x".join(map(str, _size(video))),
        "sound_match": round(match, 3),
        "sound_parts_found": f"{len(found)} of {len(offsets)}",
        "sound_off_by_ms": round(1000 * float(np.abs(found - frames[0] * RATE / FPS).max()) / RATE, 2),
    }


def _pictures(video: bytes, most: int) -> int:
    """How many pictures, at most `most`, can be decoded from the beginning of a video."""
    try:
        with av.open(io.BytesIO(video)) as container:
            return sum(1 for _ in itertools.islice(container.decode(video=0), most))
    except (av.error.FFmpegError, IndexError):
        return 0


def _size(video: bytes) -> tuple[int, int]:
    with av.open(io.BytesIO(video)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height


def listed(http: str, library: Path, avatar: str) -> dict[str, float]:
    """An avatar is put into the library: seconds until it is listed, and until a video of it begins."""
    name = "new-in-the-library"
    source = next(folder for folder in library.iterdir() if folder.name == avatar)
    try:
        httpx.get(f"{http}/v1/avatars")  # the library was looked at just now, and will not be at once again
        copy_avatar(source, library, name)
        begun = time.monotonic()
        while not any(one["id"] == name for one in httpx.get(f"{http}/v1/avatars").json()["avatars"]):
            time.sleep(0.05)
        seen = time.monotonic() - begun
        with httpx.stream("POST", f"{http}/v1/avatars/{name}/speak", content=wav(1.0), timeout=PATIENCE_S) as video:
            if video.status_code != 200:
                raise click.ClickException(video.read().decode())
            pieces = video.iter_raw()
            next(pieces)
            plays = time.monotonic() - begun
            for _ in pieces:
                pass
        return {"listed_after_s": round(seen, 2), "plays_after_s": round(plays, 2)}
    finally:
        shutil.rmtree(library / name, ignore_errors=True)


async def admitted(url: str) -> ClientConnection:
    """A connection with an admitted session, its `ready` read; a full server is asked again when it says."""
    deadline = time.monotonic() + PATIENCE_S
    probe_s = 0.0
    while time.monotonic() < deadline:
        await asyncio.sleep(probe_s)
        socket = await connect(url, max_size=None, compression=None, open_timeout=60)
        try:
            first = json.loads(await socket.recv())
        except ConnectionClosed:
            probe_s = 5.0
            continue
        if first["type"] != "error":
            return socket
        probe_s = float(first["problem"].get("retry_after") or 5)
        if first["problem"]["status"] != 503:
            raise click.ClickException(first["problem"]["detail"])
        await socket.close()
    raise click.ClickException(f"the server had no room for {PATIENCE_S:g} s")
