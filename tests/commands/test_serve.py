"""`being serve` before anything starts: what cannot be served is one line, and nothing is left running."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from pydantic import ValidationError

from being.commands.serve import DEFAULT, command, merged
from being.commands.serve_checks import check_args, check_port, exposure, first_problem, listening
from being.errors import InputError

STARTING_S = 60.0  # of a Python on a busy machine; ours starts no Ray, whose start alone takes longer


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_port_of_another_is_one_line(taken: int) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "being", "serve", "--port", str(taken)],
        capture_output=True,
        text=True,
        timeout=STARTING_S,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"being: cannot listen on 127.0.0.1:{taken} (Address already in use)")
    assert "--port" in done.stderr
    assert time.monotonic() - started < STARTING_S


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost"])
def test_port_of_another_on_any_address(taken: int, host: str) -> None:
    with pytest.raises(InputError, match="already in use"):
        check_port(host, taken)


def test_port_whose_last_connection_waits_is_free() -> None:
    """TIME_WAIT, as after a server that was stopped."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""
    check_port("127.0.0.1", port)


@pytest.mark.parametrize(("host", "remedy"), [("nowhere.invalid", "--host"), ("192.0.2.77", "--host")])
def test_address_of_another_machine(host: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        check_port(host, 8000)
    assert remedy in caught.value.remedy


def test_listening_beyond_this_machine_says_what_that_means() -> None:
    assert exposure(DEFAULT) is None and exposure(merged(DEFAULT, "::1", None, ())) is None
    warning = exposure(merged(DEFAULT, "0.0.0.0", 9000, ()))
    assert warning is not None and "\n" not in warning
    assert "0.0.0.0:9000" in warning and "no login" in warning and "--allow-host" in warning
    assert exposure(merged(DEFAULT, "0.0.0.0", 9000, (), ("being.example.org",))) is None
    assert listening({"applications": []}) == ("127.0.0.1", 8000)


def test_names_and_origins_are_added_to_the_configuration() -> None:
    config = merged(DEFAULT, None, None, (), ("being.example.org",), ("https://a.example",))
    config = merged(config, None, None, (), ("*.lan",))
    assert config["applications"][0]["args"] == {
        "fast": "auto",
        "access": {"hosts": ["being.example.org", "*.lan"], "origins": ["https://a.example"]},
    }
    assert "access" not in DEFAULT["applications"][0]["args"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--allow-host", "http://being.example.org"], "--allow-host: 'http://being.example.org' is no host name"),
        (["--allow-origin", "app.example.org"], "--allow-origin: 'app.example.org' is no origin"),
    ],
)
def test_wrong_names_are_refused(options: list[str], complaint: str) -> None:
    result = CliRunner().invoke(command, options)
    assert isinstance(result.exception, InputError) and complaint in str(result.exception)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ({"refinerr": "native"}, "args.refinerr is not known. Known here: library, device, "),
        ({"access": {"host": ["a"]}}, "args.access.host is not known. Known here: hosts, origins; see the table"),
        ({"access": {"hosts": ["a b"]}}, "args.access.hosts: 'a b' is no host name"),
        (
            {"refiner": {"backends": "native"}},
            "args.refiner.backends is not known. Known here: backend, load, ",
        ),
        ({"limits": {"side": "much"}}, "args.limits.side is 'much': input should be a valid integer"),
        ({"encoder": "cloud"}, "args.encoder is 'cloud': input should be 'worker', 'renderer' or 'own'. See the table"),
        ({"budget": 1.5}, "args.budget is 1.5: input should be less than or equal to 1"),
        ({"device": "tpu"}, "args.device is 'tpu': "),
        ([1], "its `args` is no mapping"),
        ("native", "its `args` is no mapping"),
    ],
)
def test_wrong_arguments_of_a_file_are_refused(tmp_path: Path, args: object, complaint: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"applications": [{"import_path": "being.deployments.app:build", "args": args}]}))
    result = CliRunner().invoke(command, [str(path)])
    assert isinstance(result.exception, InputError) and "\n" not in str(result.exception)
    assert str(result.exception).startswith(f"{path}: ") and complaint in str(result.exception)


def test_arguments_of_other_applications_are_theirs_and_none_are_right() -> None:
    other = {"import_path": "mine:build", "args": {"refinerr": 1}}
    ours: dict[str, object] = {"import_path": "being.deployments.app:build"}
    check_args({"applications": [other, ours, {**ours, "args": None}]}, "config.yaml")
    assert merged({"applications": [{**ours, "args": None}]}, None, None, ())["applications"][0]["args"] == {}


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ({"applications": []}, "its list `applications` is empty"),
        ({"http_options": ["a"]}, "`http_options` is no mapping"),
        ({"http_options": {"port": "abc"}}, "the port 'abc' is no number from 1 to 65535"),
        ({"http_options": {"port": True}}, "the port True is no number"),
        ({"http_options": {"port": 70000}}, "the port 70000 is no number"),
        ({"http_options": {"port": None}}, "the port None is no number"),
        ({"applications": [{"import_path": "mine:build", "name": 3}]}, "the name 3 of an application is no text"),
    ],
)
def test_wrong_parts_of_a_file_are_refused(tmp_path: Path, part: dict[str, object], complaint: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"applications": [{"import_path": "mine:build"}], **part}))
    result = CliRunner().invoke(command, [str(path)])
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"{path}: {complaint}")


def test_empty_parts_and_access_of_others_are_let_through(tmp_path: Path, taken: int) -> None:
    others = {"import_path": "mine:build", "args": {"access": ["a"]}}
    settings = {"http_options": None, "applications": [others]}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    result = CliRunner().invoke(command, [str(path), "--port", str(taken), "--allow-host", "a.example"])
    assert isinstance(result.exception, InputError) and "already in use" in str(result.exception)
    changed = merged(settings, "0.0.0.0", None, (), ("a.example",))
    assert changed["applications"] == [others] and exposure(changed) is not None
    assert listening(settings) == ("127.0.0.1", 8000)


def test_what_serve_refuses_is_one_line() -> None:
    from ray.serve.schema import ServeDeploySchema

    with pytest.raises(ValidationError) as caught:
        ServeDeploySchema.model_validate({**DEFAULT, "http_options": {"port": "abc"}})
    assert first_problem(caught.value).startswith("http_options.port: input should be a valid integer")
