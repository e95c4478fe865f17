"""The whole path on a real tiny clip: it learns, it stops and goes on, it writes an avatar that loads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from being.avatar.folder import load_avatar
from being.avatar.trust import consent_trust
from being.dataset import Dataset
from being.errors import FormatError, InputError
from being.progress import Silent
from being.synthetic import generate
from being.training import FitConfig, FitResult, fit
from being.training.__main__ import main
from being.training.checkpoint import NAME
from being.training.config import CorrectionConfig, DensifyConfig, LearningRates
from being.training.data.footage import Footage
from being.training.data.speech import listen
from being.training.fit import TRACKED_FRAMES
from being.training.loop import Stop
from being.training.model.drawing import RenderSettings, draw
from being.training.quality.evaluate import evaluate, score_frames
from being.training.quality.tracked_poses import adopt_tracked

MOUTH_CORNERS = [48, 54]  # of the 68 landmarks, image left first

CONFIG = FitConfig(
    static_steps=50,
    network_steps=120,
    batch=2,
    initial_gaussians=700,
    gaussians=1000,
    features="logmel",
    plane_resolutions=(16, 32),
    inner_block=0.1,
    densify=DensifyConfig(rounds=5),
    corrections=CorrectionConfig(pose=2e-4),  # the poses are exact, and these steps too few to find that out
    lr=LearningRates(final=0.3),  # few steps: leave them large
    device="cpu",
    quality_suite=False,  # one test runs it; the others have nothing to show
)


class StopAt(Silent):
    """Asks for a stop when a stage reports a fraction at or beyond the given one."""

    def __init__(self, stop: Stop, part: str, fraction: float) -> None:
        self.stop, self.wanted_part, self.fraction, self.now = stop, part, fraction, ""

    def part(self, name: str) -> None:
        self.now = name

    def update(self, fraction: float, **numbers: float) -> None:
        if self.now == self.wanted_part and fraction >= self.fraction:
            self.stop.wanted = True


@pytest.fixture(scope="module")
def undisturbed(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return fit(clip, tmp_path_factory.mktemp("a") / "ada", CONFIG, consent="synthetic", name="Ada")


def history(result: FitResult) -> list[dict[str, Any]]:
    from safetensors import safe_open

    with safe_open(result.work / NAME, framework="pt") as file:
        return json.loads(file.metadata()["values"])["history"]


def test_it_learns(undisturbed: FitResult) -> None:
    points = history(undisturbed)
    held_out = [p["held_out"] for p in points if "held_out" in p]
    assert held_out[-1] > held_out[0] + 2
    static = [p for p in points if p["stage"] == "static"]
    network = [p for p in points if p["stage"] == "network"]
    # the network starts where the static stage ended
    assert network[0]["held_out"] == pytest.approx(static[-1]["held_out"], abs=1.0)
    assert undisturbed.metrics["held_out_psnr"] == pytest.approx(held_out[-1], abs=1.0)
    assert points[-1]["gaussians"] <= CONFIG.gaussians


def test_the_network_moves_the_mouth(undisturbed: FitResult, clip: Path) -> None:
    """Where the mouth was filmed open, it is nearer to the filmed one with the network than at rest."""
    avatar, data = undisturbed.avatar, Dataset(clip)
    assert avatar is not None
    footage = Footage(data, listen(data, CONFIG, undisturbed.work).contexts, CONFIG, torch.device("cpu"))
    footage.adopt(torch.from_numpy(avatar.motion.head_pose), torch.from_numpy(avatar.motion.torso_pose))
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    frames = [frame for frame in footage.train if footage.opening[frame] > 0.6]
    batch = footage.batch(frames)
    with torch.no_grad():
        moved, still = (draw(avatar.gaussians, n, batch, settings).rgb for n in (avatar.network, None))
    mouth = [np.mean([score.mouth_psnr for score in score_frames(frames, rgb, batch)]) for rgb in (moved, still)]
    assert mouth[0] > mouth[1], mouth  # by 0.4 to 1.6 dB: rounding alone, enlarged by Adam, makes that difference


def test_the_avatar_loads_and_is_what_was_trained(undisturbed: FitResult, clip: Path) -> None:
    assert undisturbed.avatar is not None and undisturbed.avatar.folder is not None
    avatar = load_avatar(undisturbed.avatar.folder)
    assert avatar.manifest.network.token_support and len(avatar.network.recorded_tokens)
    data = Dataset(clip)
    assert avatar.manifest.name == "Ada" and consent_trust(avatar.manifest).serve
    assert avatar.manifest.features.name == "logmel" and avatar.manifest.look_ahead == 1
    marks = np.array(avatar.manifest.landmarks)
    left, right = marks[MOUTH_CORNERS, 0]
    assert marks.shape == (68, 3) and -0.5 < left < -0.1 < 0.1 < right < 0.5
    assert len(avatar.motion) == data.frames
    np.testing.assert_allclose(avatar.motion.torso_pose, data.torso_poses, atol=0.1)  # dm, corrected while training
    assert np.abs(avatar.motion.head_pose - data.head_poses).max() > 1e-5
    # The seed is drawn at 19 dB, this run ends at 26; the poses are exact, so their corrections change little.
    metrics = avatar.manifest.metrics
    assert 23 < metrics["tracked_psnr"] < 30
    assert metrics["tracked_psnr"] == pytest.approx(metrics["held_out_psnr"], abs=1.0)
    assert avatar.network.recorded_tokens.shape[0] == len(data.split.train) - round(0.1 * len(data.split.train))
    assert avatar.manifest.metrics["held_out_ssim"] == undisturbed.metrics["held_out_ssim"]


def test_tracked_poses_are_scored_in_the_persons_terms(undisturbed: FitResult, clip: Path) -> None:
    assert undisturbed.avatar is not None
    avatar, data = undisturbed.avatar, Dataset(clip)
    footage = Footage(data, listen(data, CONFIG, undisturbed.work).contexts, CONFIG, torch.device("cpu"))
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    adopt_tracked(footage, map(torch.from_numpy, (avatar.motion.head_pose, avatar.motion.torso_pose)))
    found = evaluate(avatar.gaussians, avatar.network, footage, settings, TRACKED_FRAMES).mean("psnr")
    assert undisturbed.metrics["tracked_psnr"] == pytest.approx(found, abs=0.01)
    smoothing = json.loads((undisturbed.work / "metrics.json").read_text())["smoothing"]
    assert set(smoothing) == {"head", "torso"} and 0 <= smoothing["head"] <= 1 and 0 <= smoothing["torso"] <= 2


def test_the_report_needs_nothing_else(undisturbed: FitResult) -> None:
    page = (undisturbed.work / "report.html").read_text()
    assert page.count("<svg") == 4 and page.count("data:image/jpeg") >= 1 + 5 * 2
    assert "http" not in page.replace("http-equiv", "")
    scores = json.loads((undisturbed.work / "metrics.json").read_text())
    assert set(scores["frames"]) == {"inner", "end"} and scores["seconds"]["static"] > 0


def test_stop_and_resume_equal_the_undisturbed_run(tmp_path: Path) -> None:
    """Bit for bit: every sum has one order."""
    clip = generate(tmp_path / "clip", seconds=0.6, seed=3, size=(32, 32), workers=1)
    changes = {
        "static_steps": 24,
        "network_steps": 24,
        "initial_gaussians": 100,
        "gaussians": 150,
    }
    config = CONFIG.model_copy(update=changes)
    undisturbed = fit(clip, tmp_path / "a" / "ada", config)
    out = tmp_path / "b" / "ada"
    for part, fraction in (("static", 0.5), ("network", 0.5)):
        stop = Stop()
        stopped = fit(clip, out, config, StopAt(stop, part, fraction), stop=stop)
        assert stopped.stopped and not out.exists()
    resumed = fit(clip, out, config)
    assert resumed.avatar is not None and undisturbed.avatar is not None
    assert resumed.avatar.gaussians.count > 100
    for name, value in undisturbed.avatar.gaussians.tensors().items():
        assert torch.equal(resumed.avatar.gaussians.tensors()[name], value), name
    state = resumed.avatar.network.state_dict()
    for name, value in undisturbed.avatar.network.state_dict().items():
        assert torch.equal(state[name], value), name
    assert [p["loss"] for p in history(resumed)] == [p["loss"] for p in history(undisturbed)]


def test_what_is_wrong_is_said_before_anything_is_computed(undisturbed: FitResult, clip: Path, tmp_path: Path) -> None:
    assert undisturbed.avatar is not None and undisturbed.avatar.folder is not None
    with pytest.raises(InputError, match="already exists"):
        fit(clip, undisturbed.avatar.folder, CONFIG)
    with pytest.raises(InputError, match="other settings"):
        fit(clip, undisturbed.avatar.folder, CONFIG.model_copy(update={"seed": 9}), replace=True)
    with pytest.raises(InputError, match="device 'cuda:99'"):
        fit(clip, tmp_path / "b", CONFIG.model_copy(update={"device": "cuda:99"}))
    with pytest.raises(InputError, match="feature name 'smell'"):
        fit(clip, tmp_path / "b", CONFIG.model_copy(update={"features": "smell"}))
    with pytest.raises(InputError, match="is not a folder"):
        fit(tmp_path / "nobody", tmp_path / "c", CONFIG)
    with pytest.raises(InputError, match="cannot be an avatar's id"):
        fit(tmp_path / "nobody", tmp_path / "C", CONFIG)
    assert not (tmp_path / "c.run").exists()
    with pytest.raises(FormatError, match="not a consent record"):
        (tmp_path / "consent.json").write_text('{"status": "maybe"}')
        fit(clip, tmp_path / "b", CONFIG, consent=str(tmp_path / "consent.json"))
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        fit(clip, blocked / "b", CONFIG)
    assert not (tmp_path / "b").exists()


def test_command_line_says_one_line(clip: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(clip, tmp_path / "broken"))
    (broken / "track_params.pt").unlink()
    result = CliRunner().invoke(main, [str(broken), "-o", str(tmp_path / "x"), "--features", "logmel"])
    assert result.exit_code == 1
    assert sum("track_params.pt" in line for line in result.output.splitlines() if line.startswith("Error")) == 1
