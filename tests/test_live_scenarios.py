"""The scenarios of live sessions before anything starts: what servers and loads they ask for, and when not to begin."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray.serve", reason="needs ray[serve]")

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import load as load_benchmark
from avatar_variants import make_variants
from being.deployments.settings import GraphSettings
from live_scenarios import SCENARIOS, Load, Measurements, load_command, miniature, warming
from live_servers import NotRun, Place, RunningServer, Server
from ray.serve.schema import ServeDeploySchema

from being.avatar.folder import load_avatar
from being.avatar.library import Library


def place(folder: Path, gpus: int = 8, processors: int = 64) -> Place:
    return Place([str(number) for number in range(gpus)], range(processors), 8000, folder, [])


def test_servers_are_what_serve_takes_and_admit_by_number(tmp_path: Path) -> None:
    for server in {server for steps in SCENARIOS.values() for server, _ in steps}:
        for one in (server, miniature(server, Load("", 1, 1))[0]):
            config = place(tmp_path).config(one)
            ServeDeploySchema.model_validate(config)
            settings = GraphSettings.model_validate(config["applications"][0]["args"])
            assert not settings.limits.admission and (settings.refiner is None) == (one.refiner is None)


@pytest.mark.parametrize(
    ("server", "processors", "workers", "pinned"),
    [(Server(), 64, 12, 16), (Server(), 8, 7, 8), (Server(gpus=4, renderers=4, processors=None), 64, 48, 64)],
)
def test_a_server_gets_workers_for_its_processors(
    tmp_path: Path, server: Server, processors: int, workers: int, pinned: int
) -> None:
    here = place(tmp_path, processors=processors)
    assert here.workers(server) == workers and len(here.pinned(server)) == pinned
    assert here.environment(server)["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"[: 2 * (server.gpus or 0) - 1]


def test_what_the_machine_lacks_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotRun, match="4 GPUs are wanted, 1 are here"):
        RunningServer(Server(gpus=4), place(tmp_path, gpus=1))
    with pytest.raises(NotRun, match="MPS"):
        RunningServer(Server(gpus=None, mps=True), place(tmp_path, gpus=0))


def test_every_load_is_one_that_the_benchmark_takes() -> None:
    for load in [load for steps in SCENARIOS.values() for _, load in steps]:
        for one, settle_s in ((load, 3.0), (warming(load, load.sessions), 1.0)):
            arguments = load_command(one, settle_s, "ws://127.0.0.1:8000", ["demo", "other"])
            given = load_benchmark.main.make_context("load", arguments).params
            assert given["sessions"] == (load.sessions,) and given["avatars"] == ("demo", "other")
            assert given["arrival_s"] * (load.sessions - 1) + settle_s < given["seconds"] - 1, "something is judged"


def test_a_step_begins_where_most_of_its_time_is_left(tmp_path: Path) -> None:
    load = Load("", 1, 15.0)
    for left_s, needed_s, begins in ((31, 50, True), (29, 50, False), (21, 21, True), (19, 21, False)):
        ends_at = time.monotonic() + left_s
        measurements = Measurements(place(tmp_path), {}, tmp_path / "live.json", ends_at)
        if begins:
            measurements.check_time(needed_s, load)
        else:
            with pytest.raises(NotRun, match="are left"):
                measurements.check_time(needed_s, load)
    Measurements(place(tmp_path), {}, tmp_path / "live.json", None).check_time(1e6, load)


def test_variants_are_different_avatars_that_load(tmp_path: Path) -> None:
    names = make_variants(tmp_path, 2)
    assert names == ["demo-00", "demo-01"] == make_variants(tmp_path, 2)
    assert {*names} <= {entry.id for entry in Library([tmp_path]).entries()}
    one, two = (load_avatar(tmp_path / name) for name in names)
    assert not one.gaussians.sh.equal(two.gaussians.sh) and one.gaussians.xyz.equal(two.gaussians.xyz)
    assert one.manifest.consent == two.manifest.consent and one.manifest.name != two.manifest.name
