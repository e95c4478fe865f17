"""`being clone` on footage that is captured already: an avatar, a report, nothing left over; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from being.avatar.folder import load_avatar
from being.avatar.trust import consent_trust
from being.commands.clone import command
from being.errors import BeingError
from being.synthetic import generate


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("clone") / "footage", seconds=0.8, seed=5, size=(48, 48), workers=1)


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEING_KEY", str(tmp_path / "key.pem"))


def clone(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments), "--device", "cpu", "--minutes", "0.002"])


def test_an_avatar_with_its_record_and_its_report(footage: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"who": "Ada", "when": "2026-11-22", "scope": "tests", "statement": "I agree."}))
    out = tmp_path / "avatars" / "ada"
    result = clone(footage, "-o", out, "--consent", record)
    assert result.exit_code == 0, result.output
    avatar = load_avatar(out)
    assert avatar.manifest.name == "Ada" and consent_trust(avatar.manifest).serve
    assert avatar.manifest.consent.footage_sha256 is not None
    work = out.with_name("ada.run")
    page = (work / "report.html").read_text()
    assert "Verdict" in page and "rough sketch" in page and "data:video/mp4" in page
    figures = json.loads((work / "metrics.json").read_text())
    assert {"flicker_torso", "held_out_fitted_psnr", "trained_psnr"} <= figures["metrics"].keys()
    assert {"read", "static", "network", "evaluate", "speak", "form"} <= figures["seconds"].keys()
    assert avatar.manifest.approximation in ("pca", "pruned") and "dB lost against the full one" in page
    # neither frames of the person nor the checkpoint stay behind; the footage that was given does
    left = {path.name for path in work.iterdir()}
    assert {"report.html", "metrics.json"} <= left and not left & {"footage", "checkpoint.safetensors", "clone.json"}
    assert (footage / "track_params.pt").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.mp4", "-o", "me"], "there is no such file"),
        (["FOOTAGE", "-o", "My Face"], "cannot be an avatar's id"),
        (["FOOTAGE", "-o", "me", "--consent", "absent.json"], "cannot be read"),
        (["FOOTAGE", "-o", "there"], "already exists"),
        (["text.mp4", "-o", "me"], ""),
    ],
)
def test_what_cannot_be_is_said_at_once(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "text.mp4").write_text("This is no film.")
    if arguments[0] == "text.mp4":
        pytest.importorskip("cv2", reason="reading footage needs being[clone]")
    result = clone(*(footage if argument == "FOOTAGE" else argument for argument in arguments))
    assert isinstance(result.exception, BeingError) and said in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "me").exists() and not (tmp_path / "My Face").exists()


def test_unfinished_work_on_other_footage_is_not_mixed_in(footage: Path, tmp_path: Path) -> None:
    work = tmp_path / "me.run"
    work.mkdir()
    (work / "clone.json").write_text(json.dumps({"video": "0" * 64}))
    result = clone(footage, "-o", tmp_path / "me", "--consent", "synthetic")
    assert "unfinished work on another video" in str(result.exception)
