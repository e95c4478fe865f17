"""How many workers a machine gets, and what Ray is told so that they share a port."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest

from being.commands.deployment_settings import deployments_of
from being.commands.renderers import with_renderers
from being.commands.serve import DEFAULT, _in_front, merged
from being.commands.session_workers import (
    behind_haproxy,
    gpus_here,
    haproxy_is_here,
    places,
    stated_workers,
    with_workers,
    without_proxy,
    workers_needed,
)
from being.processors import usable_processors


@pytest.mark.parametrize(
    ("cores", "gpus", "workers"),
    [(1, 0, 1), (2, 0, 1), (8, 0, 1), (16, 0, 2), (2, 1, 1), (8, 1, 4), (16, 1, 12), (64, 4, 54), (256, 1, 16)],
)
def test_a_machine_gets_what_it_needs(cores: int, gpus: int, workers: int) -> None:
    assert workers_needed(cores, gpus) == workers


def test_a_machine_is_planned_by_the_processors_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A container limited to 16 of 192 processors gets 12 workers for its GPU, not 16, and so much of Ray."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "cpu_count", lambda: 192)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16, 32)), raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert usable_processors() == 16
    settings, _ = _in_front(DEFAULT, proxy=True, folder=tmp_path)
    assert stated_workers(settings) == 12 and "12 session workers on 16 cores and 1 GPU" in capsys.readouterr().err
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_processors() == 192


@pytest.mark.parametrize(("visible", "count"), [("", 0), ("-1", 0), ("0", 1), ("0,3", 2)])
def test_hidden_gpus_do_not_count(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus_here() == count


@pytest.mark.parametrize(
    ("ingress", "stated"),
    [
        ({}, None),
        ({"num_replicas": 3}, 3),
        ({"num_replicas": "auto"}, "auto"),
        ({"autoscaling_config": {"max_replicas": 9}}, "auto"),
    ],
)
def test_a_configuration_may_say_it(ingress: dict[str, Any], stated: int | str | None) -> None:
    config = merged(DEFAULT, None, None, ())
    config["applications"][0]["deployments"] = [{"name": "Renderer", "num_replicas": 7}, {"name": "Ingress", **ingress}]
    before = copy.deepcopy(config)
    assert stated_workers(config) == stated
    changed = with_workers(config, 5)
    assert stated_workers(changed) == 5 and config == before
    assert changed["applications"][0]["deployments"] == [
        {"name": "Renderer", "num_replicas": 7},
        {"name": "Ingress", "num_replicas": 5},
    ]


def test_it_may_be_said_where_nothing_was() -> None:
    assert stated_workers(DEFAULT) is None
    assert stated_workers(with_workers(DEFAULT, 2)) == 2 and "deployments" not in DEFAULT["applications"][0]
    assert places(with_workers(DEFAULT, 1), 1) == 2 and places(with_workers(DEFAULT, 6), 2) == 8
    assert places(with_workers(DEFAULT, 6), 16) == 16
    scaled = with_renderers(with_workers(DEFAULT, 1), 4, 0)
    (ingress,) = deployments_of(scaled, "Ingress")
    del ingress["num_replicas"]
    ingress["autoscaling_config"] = {"min_replicas": 2, "max_replicas": 12}
    assert places(scaled, 2) == 7, "what is there at any time; more come as far as there is room"


def test_one_worker_takes_the_port_and_the_proxy_another() -> None:
    schema = pytest.importorskip("ray.serve.schema")
    config, environment = without_proxy(merged(DEFAULT, "127.0.0.1", 9000, ()))
    ends = (int(environment[f"RAY_SERVE_DIRECT_INGRESS_{end}_HTTP_PORT"]) for end in ("MIN", "MAX"))
    assert range(*ends) == range(9000, 9001)
    assert config["http_options"]["host"] == "127.0.0.1" and config["http_options"]["port"] != 9000
    schema.ServeDeploySchema.model_validate(config)


def test_every_variable_for_haproxy_is_one_that_ray_reads(tmp_path: Path) -> None:
    constants = pytest.importorskip("ray.serve").__path__[0] + "/_private/constants.py"
    source = Path(constants).read_text()
    environment = behind_haproxy(tmp_path)
    assert [name for name in environment if f'"{name}"' not in source] == []
    assert environment["RAY_SERVE_HAPROXY_METRICS_PORT"] != environment["RAY_SERVE_HAPROXY_STATS_PORT"]
    assert haproxy_is_here()
