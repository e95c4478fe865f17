"""`fit` on a Ray cluster: workers that share a person's batch, people side by side, checkpoints in Ray Train's storage.

A person is one `TorchTrainer`; its workers call the same `fit` as `being fit` does, with a process group
(`being.training.distributed`) and a checkpoint store that reports them to Ray Train.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import torch

from being.avatar.consent import ConsentRecord
from being.avatar.folder import MANIFEST
from being.dataset import Dataset
from being.errors import BeingError, InputError, MissingDependencyError
from being.progress import Progress, Silent
from being.raster.cpu.workers import limit_threads
from being.training.checkpoint import State, load_checkpoint, save_checkpoint
from being.training.cluster.job import Cluster, Outcome, Person, Share, check_people, plan, run_name
from being.training.cluster.storage import Storage, reason
from being.training.config import FitConfig
from being.training.distributed import ProcessGroup, SingleProcess, TorchProcessGroup, broadcast_values
from being.training.fit import fit
from being.training.loop import Stop
from being.training.refiner.afterwards import refine_new

os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")  # read when ray.train is imported
try:
    import ray
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer
except ImportError as error:
    raise MissingDependencyError("ray[train] (pyarrow, pandas)", "train", "Training on a Ray cluster") from error

ray_train: Any = ray.train  # its annotations are those of the older interface

POST_EVERY_S = 1.0  # a worker's lines to the driver
REPORT_EVERY_S = 5.0  # metrics to Ray Train; its controller takes one every 2 s and a worker waits for it
TAKE_EVERY_S = 0.5  # the driver looks for news
KEPT_CHECKPOINTS = 2
CHECKPOINTS = "checkpoints"  # folder in OUT.run where `fit_as_job` keeps them


class Board:
    """An actor: what workers post until the driver takes it, and whether the driver wants them to stop."""

    def __init__(self) -> None:
        self._posted: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = []
        self._stop = False

    def post(self, person: str, kind: str, words: tuple[Any, ...], numbers: dict[str, Any]) -> bool:
        """Take a line in; answers whether to stop."""
        self._posted.append((person, kind, words, numbers))
        return self._stop

    def take(self) -> list[tuple[str, str, tuple[Any, ...], dict[str, Any]]]:
        """Everything posted since the last call."""
        posted, self._posted = self._posted, []
        return posted

    def halt(self) -> None:
        """From now on every answer is: stop."""
        self._stop = True


class BoardProgress:
    """A worker's progress, posted to the board; the answers set `stop`."""

    def __init__(self, board: Any, person: str, stop: Stop) -> None:
        self._board, self._person, self._stop = board, person, stop
        self._answers: list[Any] = []
        self._last = -POST_EVERY_S

    def part(self, name: str) -> None:
        """A new part begins."""
        self._send("part", name)

    def update(self, fraction: float, **numbers: float) -> None:
        """`fraction` of the part is over."""
        if fraction >= 1 or time.monotonic() - self._last >= POST_EVERY_S:
            self._last = time.monotonic()
            self._send("update", fraction, **numbers)

    def note(self, text: str, **numbers: Any) -> None:
        """Something worth a line of its own."""
        self._send("note", text, **numbers)

    def _send(self, kind: str, *words: Any, **numbers: Any) -> None:
        self._answers.append(self._board.post.remote(self._person, kind, words, numbers))
        done, self._answers = ray.wait(self._answers, num_returns=len(self._answers), timeout=0)
        if any(ray.get(done)):
            self._stop.wanted = True


class RayCheckpointStore:
    """Checkpoints and metrics go to Ray Train; every worker reports, the first one with the file."""

    def __init__(self, process_group: ProcessGroup) -> None:
        self._group = process_group
        self._point: dict[str, Any] = {}
        self._reported = time.monotonic()

    def load(self, run_hash: str) -> State | None:
        """What Ray Train holds for this run: from before a worker fell, or from an earlier job of the same name."""
        checkpoint = ray_train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return load_checkpoint(Path(folder), run_hash)

    def save(self, run_hash: str, state: Callable[[], State]) -> None:
        """Return when the file is in the storage."""
        if self._group.rank == 0:
            with tempfile.TemporaryDirectory() as folder:
                save_checkpoint(Path(folder), run_hash, *state())
                ray_train.report(self._point, checkpoint=ray_train.Checkpoint.from_directory(folder))
        else:
            ray_train.report(self._point)

    def report(self, point: dict[str, Any]) -> None:
        """Report the newest point where the last report is some seconds old, by worker 0's clock."""
        self._point = point
        now = time.monotonic()
        (due,) = broadcast_values(self._group, now - self._reported >= REPORT_EVERY_S)
        if due:
            self._reported = now
            ray_train.report(point)


class Fallen(ray_train.UserCallback):  # type: ignore[misc]
    """Tells the board when workers fall; runs in Ray Train's controller."""

    def __init__(self, board: Any, person: str) -> None:
        self._board, self._person = board, person

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Who fell, and why."""
        for rank, error in sorted(worker_exceptions.items()):
            text = f"worker {rank} fell ({reason(error)}); all begin again at the last checkpoint"
            self._board.post.remote(self._person, "note", (text,), {})


@dataclass(frozen=True)
class Task:
    """What every worker of a person is told."""

    person: Person
    out: Path
    config: FitConfig
    cpus: int
    on_gpu: bool


def work(task: Task, board: Any) -> dict[str, Any]:
    """One worker, from the footage to the avatar; the first one's answer reaches the driver.

    What a user must repair is answered, not raised: Ray Train would try it again.
    """
    logging.disable(logging.INFO)  # Ray Train would print every report, whole
    torch.set_num_threads(task.cpus)
    limit_threads(task.cpus)
    context = ray_train.get_context()
    process_group: ProcessGroup = TorchProcessGroup() if context.get_world_size() > 1 else SingleProcess()
    stop = Stop()
    board_progress = BoardProgress(board, task.person.id, stop)
    board_progress.note(
        f"worker {process_group.rank + 1} of {process_group.size} on {socket.gethostname()}, "
        f"{'GPU' if task.on_gpu else 'CPU'}",
        pid=os.getpid(),
    )
    config = task.config if task.on_gpu else task.config.model_copy(update={"device": "cpu"})
    folder = task.out.with_name(task.out.name + ".run")
    elsewhere = None
    if process_group.rank:
        folder = elsewhere = Path(tempfile.mkdtemp(prefix="being-worker-"))
    try:
        _all_see(task.person.footage, process_group)
        progress: Progress = Silent() if process_group.rank else board_progress
        # The driver has asked whether the avatar may be replaced; a worker that fell after writing it writes it again.
        result = fit(
            task.person.footage, task.out, config, progress, work=folder, replace=True, name=task.person.name,
            consent=task.person.consent, stop=stop, process_group=process_group,
            store=RayCheckpointStore(process_group),
        )  # fmt: skip
        if not result.stopped and not process_group.rank:
            person, device, beside = task.person, "cuda" if task.on_gpu else "cpu", folder / "refiner"
            if refine_new(task.out, person.footage, person.refine, device, progress, work=beside, stop=stop):
                progress.note(f"the avatar is whole, its refiner is not: being fit-refiner {task.out}")
        return {"stopped": result.stopped, "metrics": dict(result.metrics)}
    except BeingError as error:
        return {"problem": error.problem, "remedy": error.remedy}
    finally:
        if elsewhere is not None:
            shutil.rmtree(elsewhere, ignore_errors=True)


def _work(settings: dict[str, Any]) -> dict[str, Any]:
    """`work` as Ray Train calls it."""
    return work(settings["task"], settings["board"])


def _all_see(footage: Path, process_group: ProcessGroup) -> None:
    """Raise on all workers where one of them cannot read the footage; else the others would wait for it."""
    problem: BeingError | None = None
    try:
        Dataset(footage)
    except BeingError as error:
        problem = error
    blind = torch.tensor([float(problem is not None)])
    process_group.sum([blind])
    if problem is not None:
        raise problem
    if blind.item():
        raise InputError(
            f"{footage} cannot be read on every node", "Put the footage into a folder that all nodes share"
        )


def train(
    people: Sequence[Person],
    library: Path,
    config: FitConfig,
    cluster: Cluster,
    progress: Mapping[str, Progress] | None = None,
    *,
    restart: bool = False,
    replace: bool = False,
    stop: Stop | None = None,
) -> list[Outcome]:
    """Train people into the folder `library`, as many at once as the cluster holds. Ray must be initialised.

    Parameters
    ----------
    progress : by person's id. restart : forget earlier checkpoints. replace : overwrite avatars that are there.
    stop : lets a caller end the runs at a whole step, as Ctrl-C does; the same call goes on from there.

    Raises
    ------
    InputError, MissingDependencyError : for what can be known before anything runs. What befalls one person later is
        in that person's outcome and does not touch the others.
    """
    progress, stop = progress or {}, stop or Stop()
    people = [replaced(person, footage=person.footage.resolve()) for person in people]
    library = library.resolve()
    check_people(people, library, replace)
    share = plan(config, cluster, len(people), ray.cluster_resources())
    storage = Storage.of(cluster.storage)
    runs = {person.id: run_name(cluster, person, len(people)) for person in people}
    for run in runs.values():
        storage.prepare(run, restart)
    board = _new_board()
    with stop.on_signals(), ThreadPoolExecutor(share.at_once) as pool:
        jobs: dict[str, Future[Outcome]] = {
            person.id: pool.submit(
                _train_one, person, library / person.id, config, cluster, share, storage, runs[person.id], board
            )
            for person in people
        }
        halted = False
        while not all(job.done() for job in jobs.values()):
            wait(jobs.values(), timeout=TAKE_EVERY_S)
            if stop.wanted and not halted:
                halted = True
                board.halt.remote()
                for job in jobs.values():
                    job.cancel()  # those that wait for room
            _pass_on(board, progress)
    _pass_on(board, progress)
    ray.kill(board)
    return [Outcome(p) if jobs[p.id].cancelled() else jobs[p.id].result() for p in people]


def fit_as_job(
    footage: Path,
    out: Path,
    config: FitConfig,
    progress: Progress,
    *,
    replace: bool = False,
    name: str | None = None,
    consent: ConsentRecord | None = None,
    refine: bool | None = None,
) -> Outcome:
    """`fit` for one person, as a job on the running Ray or on one started here; checkpoints go into `OUT.run`.

    Raises what befell the person, where `train` would put it into the outcome.
    """
    join_ray()
    person = Person(out.name, footage, name, consent or ConsentRecord(), refine)
    cluster = Cluster(str(out.with_name(out.name + ".run").resolve() / CHECKPOINTS))
    (outcome,) = train([person], out.parent, config, cluster, {person.id: progress}, replace=replace)
    if outcome.error is not None:
        raise outcome.error
    return outcome


def join_ray(address: str | None = None) -> None:
    """Join the cluster at the address, or the running one, or start one here. Raises InputError for none there."""
    from being.ray_local import start_ray

    try:
        start_ray(address=address, ignore_reinit_error=True, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Ray cluster at {address or 'the default address'} ({str(error).splitlines()[0]})",
            "Start one (ray start --head), or leave --address out",
        ) from error


def _train_one(
    person: Person,
    out: Path,
    config: FitConfig,
    cluster: Cluster,
    share: Share,
    storage: Storage,
    run: str,
    board: Any,
) -> Outcome:
    """One person on the cluster. Returns when the avatar is written, the run stopped, or all hope is lost."""
    begun = time.monotonic()
    task = Task(person, out, config, max(1, int(share.worker["CPU"])), share.uses_gpu)
    try:
        trainer: Any = TorchTrainer(
            _work,  # type: ignore[arg-type]
            train_loop_config={"task": task, "board": board},
            # Control goes by main memory, gradients by what they lie on.
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if share.uses_gpu else "gloo"),
            scaling_config=ray_train.ScalingConfig(
                num_workers=cluster.workers, use_gpu=share.uses_gpu, resources_per_worker=share.worker
            ),
            run_config=ray_train.RunConfig(
                name=run,
                storage_path=storage.path,
                storage_filesystem=storage.filesystem,
                failure_config=ray_train.FailureConfig(max_failures=cluster.failures),
                checkpoint_config=ray_train.CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS),
                callbacks=[Fallen(board, person.id)],
                logging_config=ray_train.LoggingConfig(log_level="WARNING"),
            ),
        )
        answer = trainer.fit().return_value or {}
    except Exception as error:  # Ray raises many types; one person's must not end the others
        remedy = f"Submit the same again: it goes on from the last checkpoint in {storage.said}/{run}"
        return Outcome(person, error=BeingError(f"training {person.id} failed ({reason(error)})", remedy))
    seconds = time.monotonic() - begun
    if "problem" in answer:
        return Outcome(person, seconds=seconds, error=InputError(answer["problem"], answer["remedy"]))
    if answer.get("stopped", True):
        return Outcome(person, seconds=seconds)
    if not (out / MANIFEST).is_file():
        problem = f"{out} was written on another node and is not seen here"
        return Outcome(person, seconds=seconds, error=InputError(problem, "Give --out a folder that all nodes share"))
    return Outcome(person, out, answer["metrics"], seconds)


def _new_board() -> Any:
    """The actor, sent as code: by name its process would import all of this, seconds of work, for a list."""
    here = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(here)
    try:
        return ray.remote(Board).options(num_cpus=0).remote()  # type: ignore[attr-defined]
    finally:
        ray.cloudpickle.unregister_pickle_by_value(here)


def _pass_on(board: Any, progress: Mapping[str, Progress]) -> None:
    for person, kind, words, numbers in ray.get(board.take.remote()):
        getattr(progress.get(person, Silent()), kind)(*words, **numbers)
