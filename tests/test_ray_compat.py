"""The private names of Ray that Being replaces are where they were, and what is replaced is what Ray then uses."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

ray = pytest.importorskip("ray")

from packaging.requirements import Requirement
from ray.serve.handle import DeploymentHandle

from being import ray_compat
from being.ray_compat import (
    BY_VALUE,
    HELPER_PORTS,
    LARGEST_MESSAGE,
    MESSAGE_VARIABLE,
    before_replica_stops,
    helper_ports,
    send_media_as_it_is,
    take_port_again,
)
from being.ray_local import current_cluster, free_ports

ROOT = Path(__file__).parents[1]
PRIVATE = re.compile(r"ray(\.\w+)*\._(?!_)\w+")


def test_the_ray_that_runs_is_the_one_that_is_pinned() -> None:
    requirements = map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    (pin,) = (one for one in requirements if one.name == "ray")
    assert pin.specifier.contains(version("ray"))
    major, minor, *_ = version("ray").split(".")
    assert not pin.specifier.contains(f"{major}.{int(minor) + 1}.0"), "a newer Ray has other private names"


def test_private_names_of_ray_stand_in_one_file() -> None:
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("not a git checkout")
    found = {}
    for name in files.stdout.split():
        if (ROOT / name).is_file() and name not in ("being/ray_compat.py", "tests/test_ray_compat.py"):
            imported = [*_imported(ast.parse((ROOT / name).read_text()))]
            if private := [module for module in imported if PRIVATE.match(module)]:
                found[name] = private
    assert not found


def _imported(tree: ast.Module) -> list[str]:
    """Whole names of all that is imported, attributes of `ray` that are spelled out, options of handles."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and node.value == "_by_reference":
            names.append("ray.serve.handle._by_reference")
        elif isinstance(node, ast.Attribute):
            names.append(ast.unparse(node))
    return names


def test_a_changed_ray_is_told_of() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        ray_compat._replace(SimpleNamespace(), "no_such_name", 1)


CALLER = """
from types import SimpleNamespace

from ray.serve._private.request_router import replica_wrapper
from ray.serve._private.router import RunningReplica
from being import ray_compat

ray_compat.receive_large_answers()
replica_wrapper.init_grpc_channel = lambda address, options, **_: print(*options)
replica_wrapper.ASGIServiceStub = lambda channel: channel
replica = RunningReplica.__new__(RunningReplica)
replica._stub = None
replica._replica_info = SimpleNamespace(node_ip="127.0.0.1", port=1)
replica.stub
"""


def test_answers_may_be_large_without_a_word_in_the_environment() -> None:
    """In its own process: where deployments are declared, Serve gives its classes other globals (it pickles them)."""
    environment = {key: value for key, value in os.environ.items() if key != MESSAGE_VARIABLE}
    said = subprocess.run([sys.executable, "-c", CALLER], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == f"('grpc.max_receive_message_length', {LARGEST_MESSAGE})"


def test_the_graph_receives_large_answers() -> None:
    import being.deployments.ray_graph  # noqa: F401
    from ray.serve._private.request_router import replica_wrapper

    assert getattr(replica_wrapper, MESSAGE_VARIABLE) == LARGEST_MESSAGE


def test_the_variable_is_one_that_ray_reads() -> None:
    code = f"from ray.serve._private import constants; print(constants.{MESSAGE_VARIABLE})"
    said = subprocess.run(
        [sys.executable, "-c", code], env={MESSAGE_VARIABLE: "12345"}, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip().endswith("12345")


def test_a_handle_takes_calls_by_value() -> None:
    from ray.serve._private.handle_options import DynamicHandleOptions

    assert set(BY_VALUE) <= set(inspect.signature(DeploymentHandle.options).parameters)
    assert DynamicHandleOptions().copy_and_update(**BY_VALUE)._by_reference is False
    assert DynamicHandleOptions()._by_reference is True, "by value is the default now"


def left_waiting() -> int:
    """A port in TIME_WAIT: its server closed a connection first, and then stopped listening."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""
    return port


def test_a_waiting_port_is_taken_and_a_used_one_refused() -> None:

    from ray.serve._private import http_util
    from ray.serve.config import HTTPOptions

    port = left_waiting()
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(("127.0.0.1", port))
    take_port_again()

    async def serve() -> None:
        """As a replica starts its server; nothing is asked of the app."""
        loop = asyncio.get_running_loop()
        options = HTTPOptions(host="127.0.0.1", port=port)
        task, server = await http_util.start_asgi_http_server(lambda *_: None, options, event_loop=loop)
        while not server.started:
            await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="Failed to bind"):
            await http_util.start_asgi_http_server(lambda *_: None, options, event_loop=loop)
        server.should_exit = True
        await task

    asyncio.run(serve())


def test_websockets_of_a_replica_are_not_compressed() -> None:

    from ray.serve._private import http_util
    from ray.serve.config import HTTPOptions

    send_media_as_it_is()

    async def serve() -> bool:
        loop = asyncio.get_running_loop()
        (port,) = free_ports(1)
        options = HTTPOptions(host="127.0.0.1", port=port)
        task, server = await http_util.start_asgi_http_server(lambda *_: None, options, event_loop=loop)
        while not server.started:
            await asyncio.sleep(0.01)
        server.should_exit = True
        await task
        return server.config.ws_per_message_deflate

    assert asyncio.run(serve()) is False


def test_ray_is_told_the_ports_of_its_helpers() -> None:
    from ray._private import parameter, worker

    ports = dict(zip(HELPER_PORTS, range(40_001, 40_005), strict=True))
    original = parameter.RayParams
    with helper_ports(ports):
        params = worker.ray._private.parameter.RayParams(num_cpus=1, metrics_export_port=9)
        assert isinstance(params, original)
        assert {name: getattr(params, name) for name in HELPER_PORTS} == {**ports, "metrics_export_port": 9}
    assert parameter.RayParams is original
    assert "ray._private.parameter.RayParams(" in inspect.getsource(worker.init), "ray.init makes its own elsewhere"


def test_a_replica_says_farewell_before_it_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind HAProxy draining ends all WebSockets after a second; whoever leaves sessions may take longer."""
    from ray.serve._private import replica

    order: list[str] = []

    async def drain(self: object) -> None:
        order.append("drains")
        await asyncio.sleep(0.01)
        order.append("drained")

    async def farewell() -> None:
        await asyncio.sleep(0.02)
        order.append("farewell")
        if failing:
            raise ValueError("nobody is there")

    failing = False
    assert inspect.iscoroutinefunction(replica.Replica._perform_graceful_shutdown)
    assert "self._perform_graceful_shutdown()" in inspect.getsource(replica.Replica.perform_graceful_shutdown)
    monkeypatch.setattr(replica.Replica, "_perform_graceful_shutdown", drain)
    before_replica_stops(farewell)
    asyncio.run(replica.Replica.__new__(replica.Replica)._perform_graceful_shutdown())
    assert order == ["farewell", "drains", "drained"]
    failing = True
    with pytest.raises(ValueError, match="nobody"):
        asyncio.run(replica.Replica.__new__(replica.Replica)._perform_graceful_shutdown())
    assert order == 2 * ["farewell", "drains", "drained"]


def test_ray_looks_for_the_current_cluster_where_we_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._common.utils import get_ray_address_file

    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    file = tmp_path / "ray" / "ray_current_cluster"
    file.parent.mkdir()
    assert get_ray_address_file(None) == str(file)
    file.write_text("10.0.0.7:6379")
    assert current_cluster() == ("10.0.0.7:6379", str(file))
