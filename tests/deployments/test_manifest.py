"""The Kubernetes manifest, as far as it can be checked without a cluster."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml
from being.deployments.settings import GraphSettings
from packaging.requirements import Requirement
from ray.serve.schema import ServeDeploySchema

from being.idle_threads import SLEEPING

MANIFEST_FILE = Path(__file__).parents[2] / "deploy" / "rayservice.yaml"
MANIFEST: dict[str, Any] = yaml.safe_load(MANIFEST_FILE.read_text())


def test_serve_config_inside_is_valid() -> None:
    config = yaml.safe_load(MANIFEST["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(config)
    GraphSettings.model_validate(config["applications"][0]["args"])


def test_workers_hold_the_graph() -> None:
    config = yaml.safe_load(MANIFEST["spec"]["serveConfigV2"])
    needed = {"num_cpus": 0.0, "num_gpus": 0.0}
    for deployment in config["applications"][0]["deployments"]:
        for key in needed:
            needed[key] += deployment.get("num_replicas", 1) * deployment["ray_actor_options"].get(key, 0)
    limits = MANIFEST["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0][
        "resources"
    ]["limits"]
    assert needed["num_cpus"] <= float(limits["cpu"]) and needed["num_gpus"] <= float(limits["nvidia.com/gpu"])


def test_names_and_mounts_fit() -> None:
    assert (MANIFEST["apiVersion"], MANIFEST["kind"]) == ("ray.io/v1", "RayService")
    cluster = MANIFEST["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            given = {variable["name"]: variable["value"] for variable in container["env"]}
            assert given.items() >= SLEEPING.items(), "idle threads must sleep in the workers too"


def test_the_cluster_runs_the_ray_that_is_pinned() -> None:
    project = tomllib.loads((MANIFEST_FILE.parents[1] / "pyproject.toml").read_text())["project"]
    (pin,) = (one for one in map(Requirement, project["dependencies"]) if one.name == "ray")
    assert pin.specifier.contains(MANIFEST["spec"]["rayClusterConfig"]["rayVersion"])
