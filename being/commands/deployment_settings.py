"""A configuration of Ray Serve with something else said of one deployment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def deployments(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a configuration says of deployments, those of all its applications."""
    for application in settings["applications"]:
        yield from application.get("deployments") or []


def deployments_of(settings: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """What it says of one of them, for each application that says anything."""
    return (one for one in deployments(settings) if one.get("name") == name)


def fewest_replicas(said: dict[str, Any]) -> int:
    """How many replicas a deployment has at any time, by what a configuration says of it; one where it does not."""
    return _replicas(said, "min_replicas")


def most_replicas(said: dict[str, Any]) -> int:
    """How many it has, or may come to."""
    return _replicas(said, "max_replicas")


def _replicas(said: dict[str, Any], scaled: str) -> int:
    scaling = said.get("autoscaling_config")
    count = said.get("num_replicas", 1) if scaling is None else scaling.get(scaled, 1)
    return count if isinstance(count, int) else 1  # "auto"


def with_replicas(settings: dict[str, Any], name: str, count: int, **options: float) -> dict[str, Any]:
    """The configuration with so many replicas of a deployment. options : of each replica's actor, beside those said."""
    applications = []
    for application in settings["applications"]:
        listed = [dict(deployment) for deployment in application.get("deployments") or []]
        changed = next((one for one in listed if one.get("name") == name), None)
        if changed is None:
            changed = {"name": name}
            listed.append(changed)
        changed.pop("autoscaling_config", None)
        changed["num_replicas"] = count
        if options:
            changed["ray_actor_options"] = {**(changed.get("ray_actor_options") or {}), **options}
        applications.append({**application, "deployments": listed})
    return {**settings, "applications": applications}
