"""How a running server takes what happens: an interruption, the death of its renderer, hundreds of clients that drop.

    being serve &
    python benchmarks/behaviour.py interrupt                 first shutting frame and last old sound after `interrupt`
    python benchmarks/behaviour.py kill                      kills the renderer's replica (on this machine)
    python benchmarks/behaviour.py drops --count 200         memory, threads, descriptors, sessions before and after

Each prints its numbers as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import click
import numpy as np
from live_client import ACKNOWLEDGE_S, FPS, RATE, Recording, alignment, converse, decoded, frame_arrivals
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from being.audio.pcm import read_audio

SAMPLE = Path(__file__).parent.parent / "being" / "samples" / "hello.wav"
AUDIBLE = 0.01
PATIENCE_S = 300.0  # how long a full server is asked again
FRESH_FPS = 12  # distinct frames of a second in which a session plays again


@click.group()
@click.option("--url", default="ws://127.0.0.1:8000", show_default=True)
@click.option("--avatar", default="demo", show_default=True)
@click.option("--size", default="512x512", show_default=True)
@click.pass_context
def main(context: click.Context, url: str, avatar: str, size: str) -> None:
    """Measure what a server does when something happens."""
    width, _, height = size.partition("x")
    address = f"{url}/v1/avatars/{avatar}/live?width={width}&height={height}"
    context.obj = {"url": url, "live": address, "speech": np.tile(read_audio(SAMPLE).samples, 8)}


@main.command()
@click.option("--times", default=5, show_default=True)
@click.pass_obj
def interrupt(obj: dict[str, Any], times: int) -> None:
    """Interrupt speech that was sent ahead of time."""
    found = [asyncio.run(_interrupted(obj["live"], obj["speech"])) for _ in range(times)]
    keys = found[0].keys()
    click.echo(json.dumps({key: [one[key] for one in found] for key in keys}, indent=2))


async def _interrupted(url: str, speech: np.ndarray) -> dict[str, float]:
    recording = Recording()
    pcm = (np.clip(speech[: 10 * RATE], -1, 1) * 32767).astype("<i2").tobytes()
    async with await _admitted(url) as socket:
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
        # Time zero for the viewer's ears: the newest frame it had when it said stop.
        "old_sound_beyond_ms": round(1000 * max(0.0, old_sound - (seen_before + 1) / FPS), 1),
    }


async def _admitted(url: str) -> ClientConnection:
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


@main.command()
@click.option("--seconds", default=45.0, show_default=True)
@click.pass_obj
def kill(obj: dict[str, Any], seconds: float) -> None:
    """Kill the renderer's replica while a session is speaking."""

    async def scenario() -> tuple[Recording, float]:
        await (await _admitted(obj["live"])).close()  # there is room now; the session itself comes next

        async def killer() -> float:
            await asyncio.sleep(8.0)
            os.kill(replica("Renderer"), signal.SIGKILL)
            return time.monotonic()

        recording, killed = await asyncio.gather(converse(obj["live"], obj["speech"], seconds), killer())
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
    click.echo(
        json.dumps(
            {
                "frames": len(frames),
                "repeated": stats[-1][1] - before,
                "fresh_again_after_s": round(again[0], 1) if again else None,
                "sound_match": round(match, 3),
                "sound_parts_found": f"{int(np.sum(offsets >= 0))} of {len(offsets)}",
                "sound_moved_ms": round(1000 * float(np.abs(moved).max()) / RATE, 1),
            },
            indent=2,
        )
    )


@main.command()
@click.option("--count", default=200, show_default=True)
@click.option("--settle", default=15.0, show_default=True, help="Seconds to wait before the last reading.")
@click.pass_obj
def drops(obj: dict[str, Any], count: int, settle: float) -> None:
    """Connect, wait for the first picture, drop without goodbye; again and again."""
    http = obj["url"].replace("ws", "http", 1)
    readings = {}
    asyncio.run(_drop(obj["live"], 20))  # pools and caches fill once
    time.sleep(settle)
    readings["before"] = _reading(http)
    asyncio.run(_drop(obj["live"], count))
    time.sleep(settle)
    readings["after"] = _reading(http)
    click.echo(json.dumps(readings, indent=2))


async def _drop(url: str, count: int) -> None:
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


def _reading(http: str) -> dict[str, Any]:
    reading: dict[str, Any] = {}
    for name in ("Ingress", "Renderer", "AudioEncoder", "ProxyActor"):
        process = replica(name, required=False)
        if process is not None:
            status = Path(f"/proc/{process}/status").read_text()
            values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            reading[name] = {
                "rss_mib": int(values["VmRSS"].split()[0]) // 1024,
                "threads": int(values["Threads"]),
                "descriptors": len(os.listdir(f"/proc/{process}/fd")),
            }
    with urllib.request.urlopen(f"{http}/v1/sessions", timeout=10) as answer:
        reading["sessions"] = len(json.load(answer)["sessions"])
    return reading


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


if __name__ == "__main__":
    main()
