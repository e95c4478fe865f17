"""What the footage shows of smile and brows is learned, recorded and can be asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from being.avatar.folder import load_avatar
from being.dataset import Dataset
from being.training import FitConfig, fit
from being.training.config import DensifyConfig
from being.training.drawing import Stagecraft, draw
from being.training.footage import Footage
from being.training.speech import listen

CONFIG = FitConfig(
    static_steps=30,
    network_steps=200,
    batch=2,
    initial_gaussians=500,
    gaussians=500,
    features="logmel",
    plane_resolutions=(16, 32),
    inner_block=0.1,
    densify=DensifyConfig(rounds=2),
    prior="none",
    device="cpu",
    prove=False,
)


@pytest.fixture(scope="module")
def smiling(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip, where the plate flares up behind every second of smiling: something only the expression can tell."""
    folder = Path(shutil.copytree(clip, tmp_path_factory.mktemp("smiling") / "person"))
    frames = Dataset(folder).frames
    smile = 4.0 * (np.arange(frames) % 10 < 5)
    rows = [f"{i + 1}, {smile[i]:.2f}, 0.0" for i in range(frames)]
    (folder / "au.csv").write_text("\n".join(["frame, AU06_r, AU45_r", *rows]))
    return folder


def test_an_expression_is_learned_and_recorded(smiling: Path, tmp_path: Path) -> None:
    """The face is filmed reddened while it smiles; asked to smile in any frame, the avatar reddens."""
    data = Dataset(smiling)
    footage = Footage(data, listen(data, CONFIG, tmp_path).contexts, CONFIG, torch.device("cpu"))
    assert data.expression_names == ("smile",)
    from PIL import Image

    for frame in range(data.frames):
        if data.expressions[frame, 0] > 0.5:
            face = data.composited(frame).copy()
            face[data.parsing(frame) == 1, 1:] //= 2
            Image.fromarray(face).save(smiling / "gt_imgs" / f"{frame}.jpg", quality=95)
    result = fit(smiling, tmp_path / "ada", CONFIG, consent="synthetic")
    assert result.avatar is not None and result.avatar.folder is not None
    avatar = load_avatar(result.avatar.folder)
    assert avatar.manifest.network.emotion_states == ("smile",)
    np.testing.assert_allclose(avatar.motion.emotion, data.expressions)
    craft = Stagecraft(footage.background, footage.intrinsics, "auto", "float32")
    batch = footage.batch(footage.held_out.all[:4])
    red = []
    for smile in (0.0, 1.0):
        asked = type(batch)(**{**vars(batch), "expression": torch.full_like(batch.expression, smile)})
        with torch.no_grad():
            rgb = draw(avatar.gaussians, avatar.network, asked, craft).rgb[batch.labels == 1]
        red.append(float((rgb[:, 0] - rgb[:, 1]).mean()))
    assert red[1] > red[0] + 0.05, red


def test_without_expressions_there_are_no_emotions(smiling: Path, tmp_path: Path) -> None:
    plain = CONFIG.model_copy(update={"expressions": False, "static_steps": 2, "network_steps": 2})
    avatar = fit(smiling, tmp_path / "ada", plain, consent="synthetic").avatar
    assert avatar is not None and avatar.manifest.network.emotion_states == ()
    assert avatar.motion.emotion.shape == (len(avatar.motion), 0)
