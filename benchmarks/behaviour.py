"""How a running server takes what happens: a video, an interruption, a dead renderer, clients that drop, bad requests.

    python benchmarks/behaviour.py start -- serve run serve_config.yaml    from the command to /readyz
    being serve --library being/avatars --library FOLDER &
    python benchmarks/behaviour.py speak --sound speech.wav      first picture, speed, frames, sound beside picture
    python benchmarks/behaviour.py interrupt                     first shutting frame and last old sound
    python benchmarks/behaviour.py kill                          kills the renderer's replica (on this machine)
    python benchmarks/behaviour.py drops --count 200             memory, threads, descriptors, sessions before and after
    python benchmarks/behaviour.py listing --library FOLDER      an avatar put there: listed, and played
    python benchmarks/behaviour.py bad-input --library FOLDER    everything a client can do wrong; the server lives on
    python benchmarks/behaviour.py schema                        schemathesis over the OpenAPI schema: no 5xx but 503

Each prints its numbers; `--json FILE` (before the command) keeps them there, one entry a command, with the machine, the
versions and the share of time its host stole. `table` prints such a file.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bad_input
import bad_live  # noqa: F401  its cases
import bad_requests  # noqa: F401
import click
import numpy as np
import scenarios
from machine import Meanwhile, facts
from raw_client import http_of

from being.media.reading.sound_reader import open_sound

SAMPLE = Path(__file__).parent.parent / "being" / "samples" / "hello.wav"


@dataclass
class Bench:
    """The server asked, and where results go."""

    url: str
    live: str
    avatar: str
    size: str
    speech: np.ndarray
    json_path: Path | None

    @property
    def http(self) -> str:
        return http_of(self.url)

    @contextmanager
    def measuring(self, name: str) -> Iterator[dict[str, Any]]:
        """What is put into the dictionary is printed, and kept under the name."""
        meanwhile, begun, found = Meanwhile(), time.monotonic(), dict[str, Any]()
        yield found
        machine = meanwhile.report(time.monotonic() - begun)
        entry = {
            "command": " ".join(["python", *map(_said, sys.argv)]),
            "seconds": round(time.monotonic() - begun, 1),
            "stolen_percent": machine["stolen_percent"],
            "result": found,
        }
        click.echo("\n".join(_rows({name: entry})))
        if self.json_path is not None:
            report = _read(self.json_path)
            report["machine"] = facts()
            report.setdefault("runs", {})[name] = entry
            self.json_path.write_text(json.dumps(report, indent=2) + "\n")


@click.group()
@click.option("--url", default="ws://127.0.0.1:8000", show_default=True)
@click.option("--avatar", default="demo", show_default=True)
@click.option("--size", default="512x512", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Keep the results here, beside others.")
@click.pass_context
def main(context: click.Context, url: str, avatar: str, size: str, json_path: Path | None) -> None:
    """Measure what a server does when something happens."""
    width, _, height = size.partition("x")
    address = f"{url}/v1/avatars/{avatar}/live?width={width}&height={height}"
    context.obj = Bench(url, address, avatar, size, np.tile(open_sound(SAMPLE).model_pcm(), 8), json_path)


@main.command()
@click.argument("command", nargs=-1, required=True)
@click.option("--keep", is_flag=True, help="Let the server run on.")
@click.option("--log", default=Path("serve.log"), type=click.Path(path_type=Path), show_default=True)
@click.pass_obj
def start(bench: Bench, command: tuple[str, ...], keep: bool, log: Path) -> None:
    """Start a server by COMMAND: seconds until it is ready."""
    with bench.measuring("start") as found:
        times, process = scenarios.started(list(command), bench.http, log)
        found |= {"served_by": " ".join(command), **times}
    if not keep:
        os.killpg(process, signal.SIGINT)


@main.command()
@click.option("--sound", default=SAMPLE, type=click.Path(path_type=Path), show_default=True)
@click.option("--seconds", default=16.0, show_default=True)
@click.option("--times", default=3, show_default=True)
@click.pass_obj
def speak(bench: Bench, sound: Path, seconds: float, times: int) -> None:
    """A video of a sound."""
    width, _, height = bench.size.partition("x")
    url = f"{bench.http}/v1/avatars/{bench.avatar}/speak?width={width}&height={height}"
    with bench.measuring("speak") as found:
        found |= _columns([scenarios.spoken(url, sound, seconds) for _ in range(times)])


@main.command()
@click.option("--times", default=5, show_default=True)
@click.pass_obj
def interrupt(bench: Bench, times: int) -> None:
    """Interrupt speech that was sent ahead of time."""
    with bench.measuring("interrupt") as found:
        found |= _columns([asyncio.run(scenarios.interrupted(bench.live, bench.speech)) for _ in range(times)])


@main.command()
@click.option("--seconds", default=45.0, show_default=True)
@click.option("--times", default=1, show_default=True)
@click.pass_obj
def kill(bench: Bench, seconds: float, times: int) -> None:
    """Kill the renderer's replica while a session is speaking."""
    with bench.measuring("kill") as found:
        found |= _columns([scenarios.killed(bench.live, bench.speech, seconds) for _ in range(times)])


@main.command()
@click.option("--count", default=200, show_default=True)
@click.option("--settle", default=15.0, show_default=True, help="Seconds to wait before a reading.")
@click.pass_obj
def drops(bench: Bench, count: int, settle: float) -> None:
    """Connect, wait for the first picture, leave; every second time without goodbye. The first `count` warm up."""
    with bench.measuring("drops") as found:
        for name in ("before", "after"):
            asyncio.run(scenarios.drop(bench.live, count))
            time.sleep(settle)
            found[name] = scenarios.reading(bench.http)


@main.command()
@click.option(
    "--library", type=click.Path(path_type=Path, exists=True), required=True, help="A folder the server reads."
)
@click.option("--times", default=3, show_default=True)
@click.pass_obj
def listing(bench: Bench, library: Path, times: int) -> None:
    """Put an avatar into a library folder, which must hold the one named by --avatar."""
    with bench.measuring("listing") as found:
        found |= _columns([scenarios.listed(bench.http, library, bench.avatar) for _ in range(times)])


@main.command("bad-input")
@click.option("--library", type=click.Path(path_type=Path, exists=True), help="A folder the server reads.")
@click.option("--only", help="Cases with this in their name.")
@click.pass_obj
def bad_input_(bench: Bench, library: Path | None, only: str | None) -> None:
    """Send what no server should fall over; after each case it must still draw a video."""
    target = bad_input.Target(bench.http, bench.live, bench.avatar, bench.speech, library)
    with bench.measuring("bad-input" if only is None else f"bad-input: {only}") as found:
        before = scenarios.reading(bench.http)
        found["cases"] = []
        for case in bad_input.run(target, only):
            click.echo(f"{'ok   ' if case['right'] and case['alive'] else 'WRONG'} {case['case']}: {case['answer']}")
            found["cases"].append(case)
        found["before"], found["after"] = before, scenarios.reading(bench.http)
    if not all(case["right"] and case["alive"] for case in found["cases"]):
        raise click.ClickException("not all as expected")


@main.command()
@click.option("--program", default="schemathesis", show_default=True, help="Where schemathesis is (pip install it).")
@click.option("--max-examples", default=50, show_default=True, help="Of each operation.")
@click.option("--seed", default=1, show_default=True)
@click.pass_obj
def schema(bench: Bench, program: str, max_examples: int, seed: int) -> None:
    """Schemathesis over the OpenAPI schema: no answer may be a 5xx other than 503."""
    found_program = shutil.which(program)
    if found_program is None:
        raise click.ClickException(f"{program} is not installed: pip install schemathesis, best apart from Being")
    with bench.measuring("schema") as found:
        entries = _schemathesis(found_program, bench.http, max_examples, seed, "")
        # Guessed names are those of no avatar: once more with one that is there.
        entries += _schemathesis(found_program, bench.http, max_examples, seed, bench.avatar)
        answers = Counter(entry["response"]["status"] for entry in entries)
        operations = Counter(f"{entry['request']['method']} {_route(entry['request']['url'])}" for entry in entries)
        found |= {
            "program": subprocess.run([found_program, "--version"], capture_output=True, text=True).stdout.strip(),
            "requests": len(entries),
            "answers": {str(code): count for code, count in sorted(answers.items())},
            "operations": dict(operations.most_common(12)),
            "server_errors": sum(count for code, count in answers.items() if code >= 500 and code != 503),
        }
    if found["server_errors"]:
        raise click.ClickException("schemathesis found server errors")


def _schemathesis(program: str, http: str, examples: int, seed: int, avatar: str) -> list[dict[str, Any]]:
    """Requests and answers of one run; the avatar is schemathesis's own invention where none is given."""
    with tempfile.TemporaryDirectory() as name:
        config, report = Path(name) / "config.toml", Path(name) / "report.har"
        lines = ["[checks.not_a_server_error]", 'expected-statuses = ["2xx", "3xx", "4xx", "503"]']
        lines += ["[parameters]", f'"path.avatar_id" = "{avatar}"'] if avatar else []
        config.write_text("\n".join([*lines, ""]))
        command = [program, "--config-file", str(config), "run", f"{http}/openapi.json", "--seed", str(seed)]
        command += ["--checks", "not_a_server_error", "--max-examples", str(examples), "--request-timeout", "60"]
        command += ["--warnings", "off", "--report", "har", "--report-har-path", str(report)]
        if subprocess.run(command).returncode:
            raise click.ClickException("schemathesis found failures")
        entries: list[dict[str, Any]] = json.loads(report.read_text())["log"]["entries"]
        return entries


def _route(url: str) -> str:
    return "/" + "/".join(url.partition("?")[0].split("/")[3:5])


@main.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
def table(path: Path) -> None:
    """Print a file of results."""
    click.echo("\n".join(_rows(_read(path)["runs"])))


def _said(argument: str) -> str:
    """Where a file lay on the machine that measured is nobody's business."""
    return Path(argument).name if argument.startswith("/") else argument


def _columns(results: list[dict[str, Any]]) -> dict[str, Any]:
    """One list a quantity; what is the same each time is said once."""
    columns = {key: [one[key] for one in results] for key in results[0]}
    return {key: values[0] if len(values) == 1 else values for key, values in columns.items()}


def _rows(runs: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, entry in runs.items():
        yield f"{name}  ({entry['seconds']:g} s, {entry['stolen_percent']} % stolen)"
        for key, value in entry["result"].items():
            if key == "cases":
                for case in value:
                    good = "ok" if case["right"] and case["alive"] else "WRONG"
                    yield f"    {good:<6}{case['case']:<44}{case['seconds']:>7.2f} s  {case['answer']}"
            else:
                yield f"    {key:<28}{json.dumps(value)}"


def _read(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return report


if __name__ == "__main__":
    main()
