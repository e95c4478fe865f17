"""The arguments of the graph, checked before anything starts: what stands under `args` in a Serve config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from being.api.origin import Access
from being.avatar.former_names import present_form
from being.avatar.library import Library
from being.inference.engine import Fast
from being.live.scheduler import Pacing
from being.model.device import PATTERN
from being.refine.settings import OptionalRefiner
from being.server.limits import ServingLimits

Transport = Literal["shared", "values", "objects"]
EncoderPlace = Literal["worker", "renderer", "own"]


class PacingSettings(BaseModel):
    """The frame clock; see being.live.scheduler.Pacing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_flight: int = Field(default=2, ge=1, le=16)
    longest_tick: int = Field(default=4, ge=1, le=25)
    patience_s: float = Field(default=0.4, gt=0)
    longest_patience_s: float = Field(default=1.0, gt=0)

    def pacing(self) -> Pacing:
        return Pacing(**self.model_dump())


class GraphSettings(BaseModel):
    """Everything that shapes the graph; how many replicas and what share of a machine each gets is Serve's own part.

    Parameters
    ----------
    library : folders of avatars; empty for $BEING_AVATARS or ./avatars, and the packaged demo.
    device, fast : of the engine.
    resident : avatars one renderer keeps loaded.
    shards : renderers between which the avatars are divided; set the Renderer's `num_replicas` at least as high.
    encoder : where sound becomes features. "worker": in each session worker, features that cost little (the others
        in the renderer); "renderer": there, the sound of all workers together; "own": the AudioEncoder as a deployment
        of its own, a hop and a process more.
    transport : how frames come from the renderer. "shared": through shared memory where it is on the session worker's
        node, else by value; "values": by gRPC from replica to replica, as do stages that are deployments of their own;
        "objects": through Ray's object store, for large batches and stages on one node.
    budget : share of a renderer's time that live sessions may plan with.
    refiner : makes frames photographic: "native", "streamdiffusion", or their settings; absent or "none": as rendered.
    access : names of the server, and pages elsewhere that may use it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    library: tuple[str, ...] = ()
    device: str = Field(default="auto", pattern=PATTERN)
    fast: Annotated[Fast, BeforeValidator(present_form)] = "auto"
    resident: int = Field(default=8, ge=1)
    shards: int = Field(default=1, ge=1, le=1024)
    encoder: EncoderPlace = "worker"
    transport: Transport = "shared"
    budget: float = Field(default=0.85, gt=0, le=1)
    refiner: OptionalRefiner = None
    limits: ServingLimits = ServingLimits()
    access: Access = Access()
    pacing: PacingSettings = PacingSettings()

    def open_library(self) -> Library:
        return Library([Path(path) for path in self.library] or None, serving_policy=True)
