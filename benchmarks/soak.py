"""Hours of sessions that come, talk, interrupt and drop, while a worker, a renderer, the registry are killed in turn.

    being serve --workers 3 &
    python benchmarks/soak.py --minutes 30 --visitors 4 --size 128x128 --json soak.json --plot soak.png

Rounds of visitors, and between two rounds all have left: what the server's processes hold then (memory, threads,
descriptors, shared frames) is compared round by round, and there must be no session left. In every other round one
process is killed in the middle, a deployment after the other; those who were cut off must be able to go on. The exit
status is 1 where something grew, or somebody could not come back. It runs on the server's machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import click
import numpy as np
import soak_readings
from machine import facts
from raw_client import http_of
from soak_readings import Allowed, Reading, replicas
from soak_visitors import DOES, SILENT_S, Tally, Visitor

from being.media.reading.sound_reader import open_sound

SAMPLE = Path(__file__).parent.parent / "being" / "samples" / "hello.wav"
READ_EVERY_S = 5.0
SETTLE_S = 15.0  # after the last has left: longer than a lost client's session is kept


@click.command()
@click.option("--url", default="ws://127.0.0.1:8000", show_default=True)
@click.option("--avatar", "avatars", default=("demo",), multiple=True, show_default=True, help="Several: in turn.")
@click.option("--minutes", default=30.0, show_default=True)
@click.option("--round-s", default=90.0, show_default=True, help="Length of a round of visitors.")
@click.option("--visitors", default=4, show_default=True, help="At once.")
@click.option("--stay-s", default=20.0, show_default=True, help="How long the most patient one stays.")
@click.option("--size", metavar="WxH", default="128x128", show_default=True)
@click.option("--kill", "killed", default=("Ingress", "Renderer", "Sessions"), multiple=True, show_default=True)
@click.option("--server", type=int, help="Process id of `being serve`, where several run here  [default: all].")
@click.option("--no-kill", is_flag=True, help="Leave all processes alone.")
@click.option("--warm-up", default=1, show_default=True, help="Rounds of a process that do not count.")
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here, after each round.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), help="What is held over time (needs matplotlib).")
def main(
    url: str,
    avatars: tuple[str, ...],
    minutes: float,
    round_s: float,
    visitors: int,
    stay_s: float,
    size: str,
    killed: tuple[str, ...],
    server: int | None,
    no_kill: bool,
    warm_up: int,
    seed: int,
    json_path: Path | None,
    plot_path: Path | None,
) -> None:
    """Soak a server that runs on this machine."""
    width, _, height = size.partition("x")
    addresses = [f"{url}/v1/avatars/{avatar}/live?width={width}&height={height}" for avatar in avatars]
    speech = np.tile(open_sound(SAMPLE).model_pcm(), 4)
    pcm = (np.clip(speech, -1, 1) * 32767).astype("<i2")
    tally, readings, faults = Tally(), list[Reading](), list[dict[str, Any]]()
    begun, number = time.monotonic(), 0
    turn: Iterator[str] | None = None if no_kill else cycle(killed)
    chance = random.Random(seed)
    report: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "machine": facts()}
    while number == 0 or time.monotonic() - begun < 60 * minutes:
        crowd = [
            Visitor(addresses[i % len(addresses)], pcm, seed + 1000 * number + i, tally, stay_s)
            for i in range(visitors)
        ]
        # A process has to live through two rounds unharmed, or nothing could be said of it.
        victim = next(turn) if turn is not None and number % 2 else None
        asyncio.run(_round(crowd, server, http_of(url), begun, round_s, victim, readings, faults, chance))
        number += 1
        grew = soak_readings.growth(readings, Allowed(), warm_up)
        report |= {"rounds": number, "seconds": round(time.monotonic() - begun), "visitors": tally.report()}
        report |= {"faults": faults, "grew": grew, "readings": [one.as_json() for one in readings]}
        _say(number, readings[-1], tally, faults)
        if json_path is not None:
            json_path.write_text(json.dumps(report, indent=1) + "\n")
        if plot_path is not None:
            soak_readings.plot(readings, faults, plot_path)
    wrong = [*grew, *([f"{tally.counts['lost']} could not come back"] if tally.counts["lost"] else [])]
    if not any(tally.counts[name] for name in DOES):
        wrong.append("nobody was let in")
    for line in wrong:
        click.echo(f"WRONG {line}")
    if wrong:
        sys.exit(1)
    click.echo("nothing grew, and everybody who was cut off came back")


async def _round(
    crowd: list[Visitor],
    server: int | None,
    http: str,
    begun: float,
    seconds: float,
    victim: str | None,
    readings: list[Reading],
    faults: list[dict[str, Any]],
    chance: random.Random,
) -> None:
    visits = [asyncio.create_task(visitor.run()) for visitor in crowd]
    until, kill_at = time.monotonic() + seconds, time.monotonic() + seconds / 2
    while time.monotonic() < until:
        await asyncio.sleep(READ_EVERY_S)
        readings.append(await asyncio.to_thread(soak_readings.read, http, server, begun, quiet=False))
        if victim is not None and time.monotonic() > kill_at:
            if found := replicas(victim, server):
                pid = chance.choice(found)
                os.kill(pid, signal.SIGKILL)
                faults.append({"at_s": round(time.monotonic() - begun, 1), "killed": victim, "pid": pid})
            else:
                click.echo(f"no replica of {victim} runs on this machine", err=True)
            victim = None
    for visitor in crowd:
        visitor.stopped = True
    await asyncio.gather(*visits)
    await asyncio.sleep(max(SETTLE_S, SILENT_S))
    readings.append(await asyncio.to_thread(soak_readings.read, http, server, begun, quiet=True))


def _say(number: int, reading: Reading, tally: Tally, faults: list[dict[str, Any]]) -> None:
    held = ", ".join(
        f"{one.deployment} {one.rss_mib:.0f} MiB {one.threads} threads {one.descriptors} fds"
        for one in reading.processes
    )
    last = f", killed so far {len(faults)}" if faults else ""
    click.echo(f"round {number} at {reading.at_s:.0f} s: {reading.sessions} sessions left{last}; {held}")
    click.echo("    " + ", ".join(f"{name} {count}" for name, count in sorted(tally.counts.items())))


if __name__ == "__main__":
    main()
