"""`ray job submit` against a local cluster: two workers, one killed on the way; the avatar appears where one serves."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

pytest.importorskip("pyarrow", reason="needs being[train]")

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
sys.path.append(str(Path(__file__).parent / "api"))

from api_server import drawing, eventually, running, wav
from train_job import SMALL, checkpointed, cluster, kill_worker, submit

from being.avatar.consent import SYNTHETIC, ConsentRecord
from being.dataset.synthetic import generate
from being.errors import InputError
from being.training import fit
from being.training.options import config_of
from train import consents_of, main, person_of, place, spread

PARTS = ("densify-", "lr-")  # of the configuration that have fields of their own
SAME = {
    (name.replace("-", "__", 1) if name.startswith(PARTS) else name).replace("-", "_"): value
    for name, value in SMALL.items()
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cluster(cpus=2) as found:
        yield found


def test_a_job_whose_worker_is_killed_ends_in_an_avatar_that_speaks(address: str, tmp_path: Path) -> None:
    footage = generate(tmp_path / "footage", seconds=1.2, seed=3, size=(64, 64), workers=1)
    library = tmp_path / "avatars"
    library.mkdir()
    with drawing(library) as graph, running(graph) as server, server.client() as client:
        assert "ada" not in client.get("/v1/avatars").text
        job = submit(
            address, [f"ada={footage}"], library, SMALL, "--workers", "2", "--cpus", "1", "--consent", "synthetic"
        )
        job.until(checkpointed(library, "ada"), "a checkpoint")
        kill_worker(job, 1, 2)
        assert job.end() == 0, "".join(job.text)
        assert job.notes("worker 1 fell") and job.notes("going on from step")
        eventually(lambda: '"ada"' in client.get("/v1/avatars").text)
        film = client.post("/v1/avatars/ada/speak", content=wav(0.5))
        assert film.status_code == 200
        with av.open(io.BytesIO(film.content)) as container:
            assert sum(1 for _ in container.decode(video=0)) >= 12

    config = config_of({"fit_" + name: value for name, value in SAME.items()})
    alone = fit(footage, tmp_path / "alone" / "ada", config)
    job_psnr = next(e["held_out_psnr"] for e in reversed(job.events) if "held_out_psnr" in e)
    # Few steps on few frames: threads add up in any order, Adam enlarges it. benchmarks/train_job.py has the figures.
    assert job_psnr == pytest.approx(alone.metrics["held_out_psnr"], abs=0.5)


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


def test_the_help_teaches() -> None:
    from click.testing import CliRunner

    text = CliRunner().invoke(main, ["--help"]).output
    assert "ray job submit --working-dir . -- python train.py" in text and "--gpu-fraction 0.33" in text
