"""The configurations that ship say what the code says, and wrong ones are refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from being.deployments.settings import GraphSettings
from pydantic import ValidationError
from ray.serve.deployment import deployment_to_schema
from ray.serve.schema import ServeDeploySchema

from being.commands.serve import DEFAULT, merged

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["serve_config.yaml", "serve_config.a100.yaml"])
def test_shipped_configuration_is_valid(name: str) -> None:
    config = yaml.safe_load((ROOT / name).read_text())
    ServeDeploySchema.model_validate(config)
    GraphSettings.model_validate(config["applications"][0]["args"])


def test_built_in_configuration_is_the_file() -> None:
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    application, built_in = config["applications"][0], DEFAULT["applications"][0]
    assert GraphSettings.model_validate(application["args"]) == GraphSettings.model_validate(built_in["args"])
    for key in ("proxy_location", "http_options", "logging_config"):
        assert config[key] == DEFAULT[key]
    from being.deployments.ingress import Ingress
    from being.deployments.renderer import Renderer

    for deployment in (Ingress, Renderer):
        stated = next(one for one in application["deployments"] if one["name"] == deployment.name)
        assert stated["ray_actor_options"]["num_cpus"] == deployment.ray_actor_options["num_cpus"]


def test_a_renderer_that_is_replaced_has_a_successor_before_it_goes() -> None:
    """On two cores as well: what has no place is waited for, and the old version goes on for good."""
    from being.deployments.ingress import Ingress
    from being.deployments.renderer import Renderer
    from being.deployments.sessions import Sessions

    assert deployment_to_schema(Renderer).max_surge_percent > 0
    needed = [deployment.ray_actor_options["num_cpus"] for deployment in (Sessions, Ingress, Renderer, Renderer)]
    assert sum(needed) <= 2


def test_command_line_overrides() -> None:
    config = merged(DEFAULT, "0.0.0.0", 9000, (Path("people"),))
    assert config["http_options"] == {"host": "0.0.0.0", "port": 9000}
    assert config["applications"][0]["args"]["library"] == [str(Path("people").resolve())]
    assert "library" not in DEFAULT["applications"][0]["args"]


@pytest.mark.parametrize(
    "args", [{"shards": 0}, {"colour": 1}, {"device": "tpu"}, {"encoder": "cloud"}, {"refiner": {"load": "os.system"}}]
)
def test_wrong_arguments_are_refused(args: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GraphSettings.model_validate(args)


@pytest.mark.parametrize(
    ("given", "backend"), [("native", "native"), ({"backend": "streamdiffusion", "strength": 0.3}, "streamdiffusion")]
)
def test_a_refiner_may_be_named_alone(given: object, backend: str) -> None:
    refiner = GraphSettings.model_validate({"refiner": given}).refiner
    assert refiner is not None and refiner.backend == backend and refiner.place == "renderer"
    assert GraphSettings.model_validate({"refiner": "none"}).refiner is None
