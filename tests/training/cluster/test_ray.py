"""What a cluster gives whom, and what it refuses; where checkpoints go."""

from __future__ import annotations

from pathlib import Path

import pytest

from being.errors import InputError
from being.training import FitConfig
from being.training.cluster.job import Cluster, Person, check_people, plan, run_name
from being.training.cluster.storage import Storage

H200 = {"CPU": 16.0, "GPU": 1.0}
CPUS = {"CPU": 4.0}


def test_people_share_a_gpu() -> None:
    share = plan(FitConfig(), Cluster("runs", gpu_fraction=0.33), 3, H200)
    assert share.at_once == 3 and share.worker == {"CPU": 4.0, "GPU": 0.33} and share.uses_gpu
    assert plan(FitConfig(), Cluster("runs"), 3, H200).at_once == 1
    assert plan(FitConfig(), Cluster("runs", gpu_fraction=0.5), 3, H200).at_once == 2


def test_without_a_gpu_the_processors_are_divided() -> None:
    assert plan(FitConfig(), Cluster("runs"), 1, CPUS).worker == {"CPU": 4.0}
    assert plan(FitConfig(), Cluster("runs", workers=2), 1, CPUS).worker == {"CPU": 2.0}
    assert plan(FitConfig(device="cpu"), Cluster("runs"), 2, H200).worker == {"CPU": 8.0}
    waiting = plan(FitConfig(), Cluster("runs", cpus=2), 3, CPUS)
    assert waiting.at_once == 2 and not waiting.uses_gpu
    assert plan(FitConfig(), Cluster("runs", workers=2), 3, CPUS).at_once == 2


@pytest.mark.parametrize(
    ("config", "cluster", "available", "said"),
    [
        (FitConfig(batch=2), Cluster("runs", workers=3), CPUS, "cannot share a batch"),
        (FitConfig(device="cuda"), Cluster("runs"), CPUS, "no node of this Ray cluster has a GPU"),
        (FitConfig(), Cluster("runs", gpu_fraction=0.3), CPUS, "no node of this Ray cluster has a GPU"),
        (FitConfig(device="cpu"), Cluster("runs", gpu_fraction=0.3), H200, "needs no share of a GPU"),
        (FitConfig(), Cluster("runs", gpu_fraction=1.5), H200, "in \\(0, 1\\]"),
        (FitConfig(), Cluster("runs", gpu_fraction=0.4, workers=2), H200, "NCCL"),
        (FitConfig(), Cluster("runs", workers=2), H200, "need 2 GPUs, the cluster has 1"),
        (FitConfig(), Cluster("runs", cpus=8), CPUS, "do not fit the cluster's 4"),
    ],
)
def test_what_would_wait_for_ever_is_refused(
    config: FitConfig, cluster: Cluster, available: dict[str, float], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        plan(config, cluster, 1, available)


def test_people_are_looked_at_before_anything_runs(tmp_path: Path) -> None:
    footage, library = tmp_path / "ada", tmp_path / "avatars"
    with pytest.raises(InputError, match="is not a folder"):
        check_people([Person("ada", footage)], library, False)
    footage.mkdir()
    check_people([Person("ada", footage)], library, False)
    with pytest.raises(InputError, match="two people would be called 'ada'"):
        check_people([Person("ada", footage), Person("ada", footage)], library, False)
    (library / "ada").mkdir()
    with pytest.raises(InputError, match="already exists"):
        check_people([Person("ada", footage)], library, False)
    check_people([Person("ada", footage)], library, True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        check_people([Person("bob", footage)], tmp_path / "file" / "avatars", False)


def test_the_same_name_finds_the_same_checkpoints() -> None:
    ada = Person("ada", Path("a"))
    assert run_name(Cluster("runs"), ada, 2) == "ada"
    assert run_name(Cluster("runs", name="try"), ada, 1) == "try"
    assert run_name(Cluster("runs", name="try"), ada, 2) == "try-ada"


@pytest.mark.parametrize("scheme", ["", "file://", "local://"])  # pyarrow knows file://, only fsspec knows local://
def test_checkpoints_go_to_a_folder_or_a_uri(scheme: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs being[train]")
    storage = Storage.of(f"{scheme}{tmp_path / 'runs'}")
    storage.prepare("ada", restart=False)
    kept = tmp_path / "runs" / "ada" / "checkpoint"
    kept.write_text("a step")
    storage.prepare("ada", restart=False)
    assert kept.exists()
    storage.prepare("ada", restart=True)
    assert kept.parent.is_dir() and not list(kept.parent.iterdir())


def test_storage_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs being[train]")
    with pytest.raises(InputError, match="nosuch://bucket cannot be used"):
        Storage.of("nosuch://bucket")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Storage.of(str(tmp_path / "file" / "runs")).prepare("ada", restart=False)
