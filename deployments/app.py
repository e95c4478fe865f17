"""The application `serve run` builds: who is bound to whom."""

from __future__ import annotations

from typing import Any

from being.deployments.settings import GraphSettings
from ray.serve import Application


def build(args: dict[str, Any]) -> Application:
    """The Serve application; `import_path: being.deployments.app:build`, and `args` as GraphSettings has them.

    Serve would validate the arguments itself only if this module's annotations were not postponed.
    """
    from being.deployments.audio_encoder import AudioEncoder
    from being.deployments.ingress import Ingress
    from being.deployments.refiner import Refiner
    from being.deployments.renderer import Renderer
    from being.deployments.sessions import Sessions

    settings = GraphSettings.model_validate(args)
    renderer = _bound(Renderer, settings)
    encoder = _bound(AudioEncoder, settings) if settings.encoder == "own" else None
    apart = settings.refiner is not None and settings.refiner.place == "own"
    refiner = _bound(Refiner, settings) if apart else None
    sessions = _bound(Sessions, settings.limits.gone_s, settings.budget, settings.shards)
    return _bound(Ingress, settings, sessions, renderer, encoder, refiner)


def _bound(deployment: Any, *args: Any) -> Application:
    """`deployment` is what @serve.deployment made of a class; to a type checker it still is the class."""
    application: Application = deployment.bind(*args)
    return application
