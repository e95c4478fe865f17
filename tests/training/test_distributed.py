"""Workers that share a batch: the same run as one worker's, decided alike on all of them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from being.progress import Silent
from being.synthetic import generate
from being.training import FitConfig, FitResult, fit
from being.training.checkpoint import NAME, State, load_checkpoint, save_checkpoint
from being.training.config import DensifyConfig, LearningRates
from being.training.distributed import SingleProcess, broadcast_values, share
from being.training.loop import Stop

CONFIG = FitConfig(
    static_steps=12,
    network_steps=24,
    batch=4,
    frames_at_once=2,  # one worker adds up the parts that two workers have
    initial_gaussians=80,
    gaussians=120,
    features="logmel",
    plane_resolutions=(16, 32),
    inner_block=0.1,
    densify=DensifyConfig(rounds=3),
    lr=LearningRates(final=0.3),
    device="cpu",
)
PATIENCE_S = 600


class Threads:
    """A process group whose workers are threads of this process."""

    def __init__(self, rank: int, barrier: threading.Barrier, desk: list[list[Tensor]]) -> None:
        self.rank, self.size, self._barrier, self._desk = rank, barrier.parties, barrier, desk

    def _meet(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """What every worker brought."""
        self._desk[self.rank] = [tensor.detach().clone() for tensor in tensors]
        self._barrier.wait(PATIENCE_S)
        brought = list(self._desk)
        self._barrier.wait(PATIENCE_S)
        return brought

    @torch.no_grad()
    def sum(self, tensors: Sequence[Tensor]) -> None:
        for mine, *parts in zip(tensors, *self._meet(tensors), strict=True):
            mine.copy_(torch.stack(parts).sum(0))

    @torch.no_grad()
    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        for mine, first in zip(tensors, self._meet(tensors)[0], strict=True):
            mine.copy_(first)


class Shelf:
    """Keeps the checkpoint in a folder, written by the first worker and read by all."""

    def __init__(self, process_group: Any, folder: Path) -> None:
        self.process_group, self.folder, self.saved, self.points = process_group, folder, [], []

    def load(self, run_hash: str) -> State | None:
        return load_checkpoint(self.folder, run_hash)

    def save(self, run_hash: str, state: Callable[[], State]) -> None:
        self.saved.append(state())
        if self.process_group.rank == 0:
            save_checkpoint(self.folder, run_hash, *self.saved[-1])

    def report(self, point: dict[str, Any]) -> None:
        self.points.append(point)


@pytest.fixture(scope="module", autouse=True)
def one_begins_at_a_time() -> Iterator[None]:
    """Threads share torch's global generator, which a new network is drawn from; worker processes have their own."""
    module = sys.modules["being.training.fit"]
    begin, lock = module.begin, threading.Lock()

    def begin_alone(*args: Any) -> Any:
        with lock:
            return begin(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "begin", begin_alone)
        yield


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("process_group") / "ada", seconds=0.6, seed=3, size=(32, 32), workers=1)


def together(clip: Path, root: Path, workers: int, stop_at: float | None = None) -> tuple[list[FitResult], list[Shelf]]:
    """Train with so many workers; `stop_at`: the first one wants to stop at that fraction of the network stage."""
    shelf_folder = root / "shelf"
    shelf_folder.mkdir(parents=True, exist_ok=True)
    barrier, desk = threading.Barrier(workers), [[] for _ in range(workers)]
    groups = [Threads(rank, barrier, desk) if workers > 1 else SingleProcess() for rank in range(workers)]
    shelves = [Shelf(process_group, shelf_folder) for process_group in groups]

    def worker(rank: int) -> FitResult:
        stop = Stop()
        progress = Stopping(stop, stop_at) if rank == 0 and stop_at is not None else Silent()
        return fit(
            clip,
            root / "ada",
            CONFIG,
            progress,
            work=root / f"work{rank}",
            stop=stop,
            process_group=groups[rank],
            store=shelves[rank],
        )

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(worker, range(workers))), shelves


class Stopping(Silent):
    def __init__(self, stop: Stop, fraction: float) -> None:
        self.stop, self.fraction, self.now = stop, fraction, ""

    def part(self, name: str) -> None:
        self.now = name

    def update(self, fraction: float, **numbers: float) -> None:
        if self.now == "network" and fraction >= self.fraction:
            self.stop.wanted = True


@pytest.fixture(scope="module")
def one(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return together(clip, tmp_path_factory.mktemp("one"), 1)[0][0]


def assert_same(mine: FitResult, other: FitResult) -> None:
    """Bit for bit."""
    assert mine.avatar is not None and other.avatar is not None
    ours, theirs = (result.avatar.gaussians.tensors() | result.avatar.network.state_dict() for result in (mine, other))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    assert mine.metrics == other.metrics


def test_two_workers_train_what_one_trains(clip: Path, one: FitResult, tmp_path: Path) -> None:
    results, shelves = together(clip, tmp_path, 2)
    first, second = results
    assert first.avatar is not None and second.avatar is None and not second.stopped
    assert one.avatar is not None
    assert first.avatar.gaussians.count == one.avatar.gaussians.count > CONFIG.initial_gaussians
    assert_same(first, one)
    # every worker holds the same after every stage: values, moments, statistics, generator
    for mine, other in zip(shelves[0].saved, shelves[1].saved, strict=True):
        assert mine[0].keys() == other[0].keys()
        for name, value in mine[0].items():
            assert torch.equal(value, other[0][name]), name
        assert mine[1]["position"] == other[1]["position"]
    assert len(shelves[0].points) == len(shelves[1].points) > 0


def test_a_stopped_pair_goes_on_as_one(clip: Path, one: FitResult, tmp_path: Path) -> None:
    """All workers stop at the step at which the first wants to; one worker alone ends the run."""
    stopped, shelves = together(clip, tmp_path, 2, stop_at=0.4)
    assert all(result.stopped and result.avatar is None for result in stopped)
    positions = [shelf.saved[-1][1]["position"] for shelf in shelves]
    assert positions[0] == positions[1] and 0 < positions[0]["step"] < CONFIG.network_steps
    assert (tmp_path / "shelf" / NAME).exists() and not (tmp_path / "ada").exists()
    (ended,), _ = together(clip, tmp_path, 1)
    assert_same(ended, one)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_frame_has_one_worker(size: int) -> None:
    taken = []
    for rank in range(size):
        process_group = SingleProcess()
        process_group.rank, process_group.size = rank, size
        taken += range(8)[share(process_group, 8)]
    assert taken == list(range(8))


def test_alone_agrees_with_itself() -> None:
    assert broadcast_values(SingleProcess(), 1.5, True) == (1.5, True)
