"""Ports that are free; and the variables that Being sets are ones that the installed Ray reads."""

from __future__ import annotations

import mmap
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

ray = pytest.importorskip("ray")

from being import ray_local
from being.commands import serve, session_workers
from being.errors import InputError
from being.ray_local import cannot_be_joined, free_ports, require_own_package, require_ray, start_ray

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


def test_another_package_of_this_name_is_refused(tmp_path: Path) -> None:
    require_own_package(ROOT)
    package = tmp_path / "being"
    package.mkdir()
    require_own_package(tmp_path)  # a folder of that name that is no package does not get in the way
    (package / "__init__.py").touch()
    with pytest.raises(InputError, match=re.escape(str(package))):
        require_own_package(tmp_path)
    for folder in (package / "deployments", tmp_path / "deployments"):
        folder.mkdir()
    (tmp_path / "deployments" / "app.py").touch()
    with pytest.raises(InputError):
        require_own_package(tmp_path)
    (tmp_path / "serve_config.yaml").touch()
    require_own_package(tmp_path)
    (tmp_path / "serve_config.yaml").unlink()
    (package / "deployments" / "app.py").touch()
    require_own_package(tmp_path)


def test_a_module_of_this_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "being.py").touch()
    with pytest.raises(InputError, match=r"being\.py"):
        require_own_package(tmp_path)


def test_serving_beside_another_package_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "being").mkdir()
    (tmp_path / "being" / "__init__.py").touch()
    script = "import sys; sys.path[0] = sys.argv.pop(); from being.cli import main; main()"  # as the installed command
    done = subprocess.run(
        [sys.executable, "-c", script, "serve", str(ROOT)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and str(tmp_path / "being") in done.stderr


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "localhost:{}", "[::1]:{}"])
def test_an_address_without_a_ray_is_refused_at_once(form: str) -> None:
    address = form.format(free_ports(1)[0])
    with pytest.raises(InputError, match=re.escape(f"no Ray answers at {address}")) as caught:
        require_ray(address)
    assert "ray start --head" in caught.value.remedy


@pytest.mark.parametrize("address", ["a..b:6379", "ray://a..b:6379", "127.0.0.1:99999999999"])
def test_addresses_that_are_none_are_refused(address: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"no Ray answers at {address}")):
        require_ray(address)


@pytest.fixture
def current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which `ray start` leaves its address; it is not there."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    file = tmp_path / "ray" / "ray_current_cluster"
    file.parent.mkdir()
    return file


def test_a_head_that_was_killed_is_refused_at_once(current: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_ray("auto")  # there is none: Ray says so at once, or starts one
    address = f"127.0.0.1:{free_ports(1)[0]}"
    current.write_text(address)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("started"))
    for join in (lambda: require_ray("auto"), start_ray, lambda: start_ray(address=None)):
        with pytest.raises(InputError, match=re.escape(f"no Ray answers at {address}")) as caught:
            join()
        assert str(current) in caught.value.remedy
    require_ray("local")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        require_ray("auto")
    with pytest.raises(InputError) as caught:
        require_ray("auto")
    assert "RAY_ADDRESS" in caught.value.remedy


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ValueError("Invalid address format: nonsense"), "HOST:PORT"),
        (RuntimeError("Module: x does not exist.\nThis module was parsed from Address: x://y"), "HOST:PORT"),
        (ConnectionError("Could not find any running Ray instance. Please"), "ray start --head"),
        (RuntimeError("Failed to connect to GCS"), "RAY_AUTH_MODE=token"),
        (ConnectionError(), "RAY_AUTH_MODE=token"),
    ],
)
def test_what_ray_says_of_an_address_is_one_line(error: Exception, remedy: str) -> None:
    told = cannot_be_joined("here", error)
    assert str(told).startswith("the Ray at 'here' cannot be joined (") and "\n" not in str(told)
    assert remedy in told.remedy


@pytest.mark.usefixtures("current")
def test_addresses_where_something_listens_and_other_forms_are_left_to_ray() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for form in ("127.0.0.1:{}", "ray://localhost:{}"):
            require_ray(form.format(server.getsockname()[1]))
    for other in ("auto", "local", "session_2026"):
        require_ray(other)


def test_serving_on_a_cluster_that_is_not_there_is_one_line() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    result = CliRunner().invoke(serve.command, ["--address", address])
    assert isinstance(result.exception, InputError) and f"no Ray answers at {address}" in str(result.exception)


@pytest.mark.parametrize("address", ["nonsense", "", "http://127.0.0.1:8265"])
def test_serving_on_what_is_no_address_is_one_line(address: str) -> None:
    script = "from being.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "serve", "--address", address], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "HOST:PORT" in done.stderr.splitlines()[-1]
    assert f"the Ray at {address!r} cannot be joined" in done.stderr.splitlines()[-1]
