"""`ray job submit` against a local cluster: two workers; the avatar appears where one serves, and speaks."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import click
import pytest

pytest.importorskip("pyarrow", reason="needs being[train]")

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from ray_jobs import Head, cluster, objects_in, submit
from support.api_server import drawing, eventually, running, wav
from train_job import SMALL, checkpointed, kill_worker, scores

from being.avatar.consent import SYNTHETIC, ConsentRecord
from being.errors import InputError
from being.synthetic import generate
from being.training import FitConfig, fit
from being.training.options import config_of, fit_options
from train import consents_of, main, person_of, place, spread

# A person small enough for a machine with other things to do; the raster is torch's, which nobody has to compile.
TINY = SMALL | {
    "static-steps": 12,
    "network-steps": 24,
    "initial-gaussians": 80,
    "gaussians": 120,
    "densify-rounds": 3,
    "lr-final": 0.3,
    "backend": "reference",
    "prove": "false",
}


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with cluster(cpus=2) as found:
        yield found


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("job") / "footage", seconds=0.6, seed=3, size=(32, 32), workers=1)


def test_two_workers_make_an_avatar_that_a_running_server_lets_speak(head: Head, footage: Path, tmp_path: Path) -> None:
    library = tmp_path / "avatars"
    library.mkdir()
    with drawing(library) as graph, running(graph) as server, server.client() as client:
        assert "ada" not in client.get("/v1/avatars").text
        more = "--workers", "2", "--cpus", "1", "--consent", "synthetic", "--refine"
        job = submit(head, [f"ada={footage}"], library, TINY, *more)
        assert job.end() == 0, "".join(job.text)
        assert job.notes("worker 1 of 2") and job.notes("worker 2 of 2")
        eventually(lambda: '"ada"' in client.get("/v1/avatars").text)
        film = client.post("/v1/avatars/ada/speak", content=wav(0.5))
        assert film.status_code == 200
        with av.open(io.BytesIO(film.content)) as container:
            assert sum(1 for _ in container.decode(video=0)) >= 12
    assert (library / "ada.run" / "refiner" / "report.html").is_file() and job.notes("refiner.safetensors")


def test_a_job_whose_worker_is_killed_goes_on_from_the_checkpoint(head: Head, footage: Path, tmp_path: Path) -> None:
    job = submit(head, [f"ada={footage}"], tmp_path, TINY, "--workers", "2", "--cpus", "1")
    job.until(checkpointed(tmp_path, "ada"), "a checkpoint")
    kill_worker(job, 1, 2)
    assert job.end() == 0, "".join(job.text)
    assert job.notes("worker 1 fell") and job.notes("going on from step")
    alone = fit(footage, tmp_path / "alone" / "ada", config_from(TINY))
    assert scores(tmp_path, "ada")["held_out_psnr"] == pytest.approx(alone.metrics["held_out_psnr"], abs=0.1)


def config_from(settings: dict[str, Any]) -> FitConfig:
    """What train.py makes of the same options."""

    @click.command()
    @fit_options
    def read(**values: Any) -> FitConfig:
        return config_of(values)

    found: FitConfig = read.main(
        [part for name, value in settings.items() for part in (f"--{name}", str(value))], standalone_mode=False
    )
    return found


def test_two_events_on_a_line_of_the_log_are_two() -> None:
    assert objects_in('{"a": 1}{"b": 2}\n') == [{"a": 1}, {"b": 2}]
    assert objects_in('{"a": 1} {"b": \n') == [{"a": 1}] and objects_in("note\n") == []


def test_several_folders_after_one_data() -> None:
    assert spread(["--data", "a", "b=c", "--out", "d", "e"]) == ["--data", "a", "--data", "b=c", "--out", "d", "e"]
    assert spread(["--replace", "--data", "a", "--data", "b"]) == ["--replace", "--data", "a", "--data", "b"]


def test_ids_come_from_the_user_or_the_folder() -> None:
    assert person_of("/x/Ada Take 2") == ("ada-take-2", Path("/x/Ada Take 2"))
    assert person_of("bob=/x/1") == ("bob", Path("/x/1"))
    with pytest.raises(InputError, match="makes no id"):
        person_of("/x/...")


def test_everybody_has_a_consent_of_their_own() -> None:
    assert consents_of(["synthetic"], ["ada", "bob"]) == {"ada": SYNTHETIC, "bob": SYNTHETIC}
    assert consents_of(["bob=synthetic"], ["ada", "bob"]) == {"ada": ConsentRecord(), "bob": SYNTHETIC}


def test_a_relative_place_is_refused_in_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place("--out", "avatars") == tmp_path.resolve() / "avatars"
    inside = tmp_path / "working_dir_files" / "_ray_pkg_1"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    with pytest.raises(InputError, match="thrown away"):
        place("--out", "avatars")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--data", "EMPTY"], "track_params.pt"),
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--data", "EMPTY", "--device", "tpu"], "device 'tpu' is none of auto, cpu, cuda, cuda:N"),
        (["--data", "EMPTY", "--seed", "x"], "--seed"),
        (["--data", "EMPTY", "--sing"], "No such option"),
    ],
)
def test_what_is_wrong_is_one_line_before_ray_starts(tmp_path: Path, options: list[str], complaint: str) -> None:
    (tmp_path / "EMPTY").mkdir()
    command = [sys.executable, str(Path(__file__).parents[1] / "train.py"), *options, "--out", "avatars"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("being: ") and complaint in done.stderr and done.stderr.count("\n") == 1


def test_the_help_teaches() -> None:
    from click.testing import CliRunner

    text = CliRunner().invoke(main, ["--help"]).output
    assert "ray job submit --working-dir . -- python train.py" in text and "--gpu-fraction 0.33" in text
