"""A configuration of Ray Serve with something else said of one deployment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def deployments_of(settings: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """What a configuration says of a deployment, for each application that says anything."""
    for application in settings["applications"]:
        yield from (one for one in application.get("deployments", []) if one.get("name") == name)


def with_replicas(settings: dict[str, Any], name: str, count: int, **options: float) -> dict[str, Any]:
    """The configuration with so many replicas of a deployment. options : of each replica's actor, beside those said."""
    applications = []
    for application in settings["applications"]:
        deployments = [dict(deployment) for deployment in application.get("deployments", [])]
        changed = next((one for one in deployments if one.get("name") == name), None)
        if changed is None:
            changed = {"name": name}
            deployments.append(changed)
        changed.pop("autoscaling_config", None)
        changed["num_replicas"] = count
        if options:
            changed["ray_actor_options"] = {**changed.get("ray_actor_options", {}), **options}
        applications.append({**application, "deployments": deployments})
    return {**settings, "applications": applications}
