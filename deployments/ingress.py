"""A session worker: the app of `being.api` in a replica, over the graph's handles. Its sessions' state is here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from being.deployments.meter import RayMeter
from being.deployments.ray_graph import RayGraph
from being.deployments.sessions import SessionsHandle
from being.deployments.settings import GraphSettings
from being.deployments.worker_encoder import WorkerEncoder
from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from being.api.server import create_app
from being.ray_compat import before_replica_stops, send_media_as_it_is, take_port_again
from being.server.admission import Admission, Load, ProcessTime
from being.server.service import Service

DEREGISTERED_S = 0.5  # proxies hear within so long of a replica that is going


@serve.deployment(
    name="Ingress",
    max_ongoing_requests=1000,
    health_check_period_s=5,
    graceful_shutdown_timeout_s=45,  # it may wait for a directory that is replaced as well
    ray_actor_options={"num_cpus": 0.4},
)
@serve.ingress()
class Ingress:
    def __init__(
        self,
        settings: GraphSettings,
        sessions: DeploymentHandle,
        renderer: DeploymentHandle,
        encoder: DeploymentHandle | None,
        refiner: DeploymentHandle | None,
    ) -> None:
        take_port_again()
        send_media_as_it_is()
        admission = Admission(settings.budget, settings.shards, ProcessTime())

        def observe(frames: Mapping[Load, int], seconds: float) -> None:
            admission.observe(frames, seconds)
            meter = self._service.meter
            meter.observe("being_stage_seconds", seconds, stage="draw")
            for load in frames:
                if (cost := admission.cost(load)) is not None:
                    size = f"{load.width}x{load.height}"
                    meter.set("being_frame_cost_seconds", cost, avatar=load.avatar, size=size)

        before_replica_stops(self._farewell)
        self._access = settings.access
        library = settings.open_library()
        own_encoder = WorkerEncoder(library) if settings.encoder == "worker" else None
        graph = RayGraph(settings, renderer, encoder, refiner, own_encoder=own_encoder, observer=observe)
        self._service = Service(
            library,
            graph,
            offline=RayGraph(settings, renderer, encoder, refiner, live=False),
            limits=settings.limits,
            admission=admission,
            meter=RayMeter(),
            pacing=settings.pacing.pacing(),
            name=serve.get_replica_context().replica_id.unique_id,
            directory=SessionsHandle(sessions),
            loads=graph.loads,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self._service, self._access)

    async def _farewell(self) -> None:
        """Sessions go on in other workers, once whoever hands out connections knows that this one is going."""
        await asyncio.sleep(DEREGISTERED_S)
        loop = self._service.loop  # of the app: Ray may have a thread of its own for it
        if loop is not None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._service.stop(), loop))

    def check_health(self) -> None:
        if not self._service.frame_loop.alive:
            raise RuntimeError("the frame loop has stopped")
