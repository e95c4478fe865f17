"""Renderers that a command line asks for, and whether they share a GPU."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from being.commands.deployment_settings import deployments_of
from being.commands.renderers import renderers_share_a_gpu, stated_renderers, with_renderers
from being.commands.serve import DEFAULT
from being.errors import InputError


@pytest.mark.parametrize(
    ("count", "gpus", "share"),
    [(1, 1, 1), (2, 1, 0.5), (3, 1, 0.3333), (4, 4, 1), (8, 4, 0.5), (6, 4, 0.5), (1, 2, 2), (2, 5, 2)],
)
def test_renderers_share_the_gpus_and_ask_for_no_more(count: int, gpus: int, share: float) -> None:
    before = copy.deepcopy(DEFAULT)
    settings = with_renderers(DEFAULT, count, gpus)
    (renderer,) = settings["applications"][0]["deployments"]
    assert renderer == {"name": "Renderer", "num_replicas": count, "ray_actor_options": {"num_gpus": share}}
    assert count * share <= gpus and before == DEFAULT
    assert stated_renderers(settings) == count and renderers_share_a_gpu(settings, gpus) == (count > gpus)


def test_without_a_gpu_there_is_none_to_share() -> None:
    settings = with_renderers(DEFAULT, 3, 0)
    assert settings["applications"][0]["deployments"] == [{"name": "Renderer", "num_replicas": 3}]
    assert not renderers_share_a_gpu(settings, 0)


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ({}, 1),
        ({"num_replicas": 3}, 3),
        ({"num_replicas": "auto"}, 1),
        ({"autoscaling_config": {"max_replicas": 4}}, 4),
    ],
)
def test_a_configuration_may_say_it(said: dict[str, Any], count: int) -> None:
    settings = copy.deepcopy(DEFAULT)
    settings["applications"][0]["deployments"] = [
        {"name": "Renderer", **said, "ray_actor_options": {"num_cpus": 1, "num_gpus": 0.25}}
    ]
    assert stated_renderers(settings) == count
    (renderer,) = with_renderers(settings, 2, 1)["applications"][0]["deployments"]
    assert renderer["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 0.5} and renderer["num_replicas"] == 2


def test_what_others_ask_for_is_left_to_them() -> None:
    settings = copy.deepcopy(DEFAULT)
    settings["applications"][0]["deployments"] = [{"name": "Refiner", "ray_actor_options": {"num_gpus": 0.3}}]
    assert shares(with_renderers(settings, 1, 1)) == [0.7] and shares(with_renderers(settings, 2, 1)) == [0.35]
    settings["applications"].append({**settings["applications"][0], "name": "other", "deployments": None})
    assert shares(with_renderers(settings, 1, 1)) == [0.35, 0.35]
    settings["applications"][0]["deployments"][0]["num_replicas"] = 4
    with pytest.raises(InputError, match=r"1.2 of 1 GPUs"):
        with_renderers(settings, 1, 1)


def shares(settings: dict[str, Any]) -> list[float]:
    return [one["ray_actor_options"]["num_gpus"] for one in deployments_of(settings, "Renderer")]
