"""Who is trained on a cluster and with what; nothing here needs Ray."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from being.avatar.consent import ConsentRecord
from being.errors import BeingError, InputError
from being.training.config import FitConfig

MOST_CPUS_BESIDE_A_GPU = 4.0


@dataclass(frozen=True)
class Person:
    """Whom to train: the avatar's id, the footage's folder (seen by every node), display name and consent.

    refine : whether a refiner is made too; None: where training is on a GPU.
    """

    id: str
    footage: Path
    name: str | None = None
    consent: ConsentRecord = field(default_factory=ConsentRecord)
    refine: bool | None = None


@dataclass(frozen=True)
class Cluster:
    """What of the cluster each person gets, and where checkpoints go.

    workers : processes that share a person's batch. cpus : of each worker, None: what the cluster has, divided.
    gpu_fraction : of each worker; None: a whole GPU where there is one and the device allows it.
    storage : folder or URI that every node sees. name : of the run in the storage, None: the person's id; with several
    people `name-id`. failures : how often a person's workers may fall before the run gives up.
    """

    storage: str
    name: str | None = None
    workers: int = 1
    cpus: float | None = None
    gpu_fraction: float | None = None
    failures: int = 3


@dataclass(frozen=True)
class Outcome:
    """What came of one person: `avatar` (its folder) and metrics, or `error`, or neither when stopped."""

    person: Person
    avatar: Path | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: BeingError | None = None


@dataclass(frozen=True)
class Share:
    """What a plan gives: resources of one worker as Ray names them, and how many people run at once."""

    worker: dict[str, float]
    at_once: int

    @property
    def uses_gpu(self) -> bool:
        return "GPU" in self.worker


def plan(config: FitConfig, cluster: Cluster, people: int, available: Mapping[str, float]) -> Share:
    """Divide what the cluster has (`available`, as `ray.cluster_resources()`).

    Raises InputError for what would never be scheduled, where Ray would wait without an end.
    """
    workers, fraction = cluster.workers, cluster.gpu_fraction
    cpus, gpus = available.get("CPU", 0.0), available.get("GPU", 0.0)
    if workers < 1 or workers > config.batch:
        raise InputError(
            f"{workers} workers cannot share a batch of {config.batch} frames", "Take fewer, or raise --batch"
        )
    if fraction is not None and not 0 < fraction <= 1:
        raise InputError(f"--gpu-fraction is {fraction:g}", "Give a share of one GPU in (0, 1], for instance 0.33")
    on_cpu = config.device == "cpu"
    if on_cpu and fraction is not None:
        raise InputError("--device cpu needs no share of a GPU", "Leave --gpu-fraction out")
    if not gpus and (fraction is not None or config.device.startswith("cuda")):
        raise InputError(
            "no node of this Ray cluster has a GPU", "Add one (ray start --num-gpus=1), or pass --device cpu for a test"
        )
    share = (fraction or 1.0) if gpus and not on_cpu else 0.0
    if workers > 1 and 0 < share < 1:
        raise InputError(
            f"{workers} workers of {share:g} GPU would exchange gradients on one GPU, which NCCL refuses",
            "Fractions are for several people side by side: pass --workers 1, or leave --gpu-fraction out",
        )
    if share * workers > gpus:
        raise InputError(f"{workers} workers need {share * workers:g} GPUs, the cluster has {gpus:g}", "Take fewer")
    side_by_side = max(1, min(people, int(gpus / (share * workers) + 1e-9) if share else people))
    of_each = cluster.cpus
    if of_each is None:
        of_each = max(1.0, cpus // (workers * side_by_side))
        of_each = min(of_each, MOST_CPUS_BESIDE_A_GPU) if share else of_each
    if of_each * workers > cpus:
        raise InputError(
            f"{workers} workers of {of_each:g} CPUs do not fit the cluster's {cpus:g}", "Lower --workers or --cpus"
        )
    worker = {"CPU": of_each, **({"GPU": share} if share else {})}
    return Share(worker, max(1, min(side_by_side, math.floor(cpus / (of_each * workers) + 1e-9))))


def check_people(people: Sequence[Person], library: Path, replace: bool) -> None:
    """Raise InputError for missing footage, an avatar that is there already, a library that cannot be written."""
    twice = {p.id for p in people if sum(p.id == other.id for other in people) > 1}
    if twice:
        raise InputError(f"two people would be called {sorted(twice)[0]!r}", "Name them: --data ada=FOLDER bob=FOLDER")
    for person in people:
        if not person.footage.is_dir():
            raise InputError(
                f"{person.footage} is not a folder", "Give the folder that being capture or being synth wrote"
            )
        if (library / person.id).exists() and not replace:
            raise InputError(f"{library / person.id} already exists", "Choose another id (ID=FOLDER), or --replace")
    try:
        library.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=library):
            pass
    except OSError as error:
        raise InputError(f"{library} cannot be written ({error.strerror})", "Choose another --out") from error


def run_name(cluster: Cluster, person: Person, people: int) -> str:
    """The run's folder in the storage; the same name finds the same checkpoints."""
    if cluster.name is None:
        return person.id
    return cluster.name if people == 1 else f"{cluster.name}-{person.id}"
