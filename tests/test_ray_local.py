"""Ports that are free; and the variables that Being sets are ones that the installed Ray reads."""

from __future__ import annotations

import mmap
import re
import socket
from pathlib import Path

import pytest
import yaml

ray = pytest.importorskip("ray")

from being import ray_local
from being.commands import serve, session_workers
from being.ray_local import free_ports

ROOT = Path(__file__).parents[1]
RAY = Path(ray.__file__).parent
NAME = re.compile(r"\bRAY_\w+")


def read_by_ray(variable: str) -> bool:
    """Named in Ray's Python, or an entry of its C++ configuration (`RAY_<entry>`)."""
    python = ("_private/**/*.py", "serve/_private/*.py", "serve/*.py", "_common/**/*.py", "train/**/constants.py")
    if any(variable in file.read_text() for pattern in python for file in RAY.glob(pattern)):
        return True
    entry = variable.removeprefix("RAY_").encode()
    with (RAY / "core/src/ray/raylet/raylet").open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ).find(b"\0" + entry + b"\0") >= 0


def said() -> set[str]:
    """Variables of `being serve`, of a Ray started here, of the images and of the Kubernetes manifest."""
    names = {*ray_local.ENVIRONMENT, *serve.ENVIRONMENT}
    names |= {*session_workers.DIRECT, *session_workers.HAPROXY, *session_workers.HAPROXY_PORTS}
    for page in ("Dockerfile", "Dockerfile.gpu"):
        names |= set(NAME.findall((ROOT / page).read_text()))
    manifest = yaml.safe_load((ROOT / "deploy" / "rayservice.yaml").read_text())
    head = manifest["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    return names | {variable["name"] for variable in head["env"] if variable["name"].startswith("RAY_")}


def test_ray_reads_the_variables_that_are_set() -> None:
    assert len(said()) >= 12
    assert not {name for name in said() if not read_by_ray(name)}
    assert not read_by_ray("RAY_no_such_entry"), "the search finds anything"


def test_free_ports_can_be_taken_together() -> None:
    ports = free_ports(4)
    assert len(set(ports)) == 4
    listening = [socket.create_server(("", port)) for port in ports]
    for server in listening:
        server.close()
