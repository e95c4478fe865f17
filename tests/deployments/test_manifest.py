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


def test_every_field_is_one_of_kuberay() -> None:
    """The fields of ray.io/v1 that are used, as KubeRay's API reference (docs/reference/api.md) has them."""
    spec = MANIFEST["spec"]
    assert set(spec) <= {"serveConfigV2", "rayClusterConfig", "excludeHeadPodFromServeSvc", "upgradeStrategy"}
    cluster = spec["rayClusterConfig"]
    assert set(cluster) <= {
        "rayVersion",
        "enableInTreeAutoscaling",
        "autoscalerOptions",
        "gcsFaultToleranceOptions",
        "headGroupSpec",
        "workerGroupSpecs",
    }
    assert set(cluster["autoscalerOptions"]) <= {"idleTimeoutSeconds", "upscalingMode", "resources", "env", "version"}
    assert cluster["autoscalerOptions"]["upscalingMode"] in ("Default", "Aggressive", "Conservative")
    assert set(cluster["headGroupSpec"]) <= {"rayStartParams", "template", "serviceType"}
    for group in cluster["workerGroupSpecs"]:
        assert set(group) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_nodes_hold_the_graph_at_its_smallest_and_at_its_largest() -> None:
    """Autoscaling ends in a pod that is asked for for ever where Serve may want more than the groups may give."""
    groups = MANIFEST["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    for bound, count in (("min_replicas", "minReplicas"), ("max_replicas", "maxReplicas")):
        needed, given = {"num_cpus": 0.0, "num_gpus": 0.0}, {"num_cpus": 0.0, "num_gpus": 0.0}
        config = yaml.safe_load(MANIFEST["spec"]["serveConfigV2"])
        for deployment in config["applications"][0]["deployments"]:
            replicas = deployment.get("autoscaling_config", {}).get(bound, deployment.get("num_replicas", 1))
            for key in needed:
                needed[key] += replicas * deployment["ray_actor_options"].get(key, 0)
        for group in groups:
            limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
            given["num_cpus"] += group[count] * float(limits["cpu"])
            given["num_gpus"] += group[count] * float(limits.get("nvidia.com/gpu", 0))
        assert needed["num_cpus"] <= given["num_cpus"] and needed["num_gpus"] <= given["num_gpus"], bound


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
