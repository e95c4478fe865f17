"""What the footage shows of smile and brows is learned, recorded and can be asked for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from being.avatar.folder import load_avatar
from being.dataset import Dataset
from being.dataset.parsing import HEAD
from being.training import FitConfig, fit
from being.training.config import DensifyConfig
from being.training.data.footage import Footage
from being.training.data.speech import listen
from being.training.model.drawing import RenderSettings, draw

CONFIG = FitConfig(
    static_steps=30,
    network_steps=120,
    batch=2,
    initial_gaussians=500,
    gaussians=500,
    features="logmel",
    plane_resolutions=(16, 32),
    inner_block=0.1,
    densify=DensifyConfig(rounds=2),
    pretrained="none",
    device="cpu",
    quality_suite=False,
)


@pytest.fixture(scope="module")
def smiling(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip, its face reddened in every second fifth of a second, which the folder calls a smile."""
    folder = Path(shutil.copytree(clip, tmp_path_factory.mktemp("smiling") / "person"))
    data = Dataset(folder)
    smile = 4.0 * (np.arange(data.frames) % 10 < 5)
    rows = [f"{i + 1}, {smile[i]:.2f}, 0.0" for i in range(data.frames)]
    (folder / "au.csv").write_text("\n".join(["frame, AU06_r, AU45_r", *rows]))
    for frame in np.flatnonzero(smile).tolist():
        face = data.composited(frame).copy()
        face[data.parsing(frame) == HEAD, 1:] //= 2
        Image.fromarray(face).save(folder / "gt_imgs" / f"{frame}.png")
    return folder


def test_an_expression_is_learned_and_recorded(smiling: Path, tmp_path: Path) -> None:
    """Asked to smile in any frame, held-out ones too, the avatar reddens."""
    data = Dataset(smiling)
    footage = Footage(data, listen(data, CONFIG, tmp_path).contexts, CONFIG, torch.device("cpu"))
    assert data.expression_names == ("smile",)
    result = fit(smiling, tmp_path / "ada", CONFIG, consent="synthetic")
    assert result.avatar is not None and result.avatar.folder is not None
    avatar = load_avatar(result.avatar.folder)
    assert avatar.manifest.network.emotion_states == ("smile",)
    np.testing.assert_allclose(avatar.motion.emotion, data.expressions)
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    batch = footage.batch(footage.held_out.all[:4])
    red = []
    for smile in (0.0, 1.0):
        asked = replace(batch, expression=torch.full_like(batch.expression, smile))
        with torch.no_grad():
            rgb = draw(avatar.gaussians, avatar.network, asked, settings).rgb[batch.labels == HEAD]
        red.append(float((rgb[:, 0] - rgb[:, 1]).mean()))
    assert red[1] > red[0] + 0.05, red


def test_without_expressions_there_are_no_emotions(smiling: Path, tmp_path: Path) -> None:
    plain = CONFIG.model_copy(update={"expressions": False, "static_steps": 2, "network_steps": 2})
    avatar = fit(smiling, tmp_path / "ada", plain, consent="synthetic").avatar
    assert avatar is not None and avatar.manifest.network.emotion_states == ()
    assert avatar.motion.emotion.shape == (len(avatar.motion), 0)
    assert avatar.network.emotion_weight == 0, "a token that says nothing must not be listened to"
