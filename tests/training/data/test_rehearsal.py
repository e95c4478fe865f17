"""Speech that is heard beside the footage's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from being.audio.extractors import load_extractor
from being.audio.features import FeatureSpec
from being.audio.phones import NAMES
from being.audio.windows import WindowSpec
from being.dataset import Dataset
from being.dataset.landmarks import INNER_LIPS
from being.training.config import FitConfig, LossWeights
from being.training.data.footage import Footage
from being.training.data.parted_lips import LIPS_PARTED
from being.training.data.rehearsal import load_rehearsal
from being.training.data.speech import listen
from being.training.export import record_tokens
from being.training.fit import begin
from being.training.model.drawing import RenderSettings, predict_offsets
from being.training.model.lip_motion import APART, HIGH, LEAST, LOW, MIDDLE, LipMotion

PHONES, LIVE = FeatureSpec(name="phones"), WindowSpec(look_ahead=1)
CONFIG = FitConfig(
    device="cpu", initial_gaussians=300, gaussians=300, loss=LossWeights(lip_motion=0.5), rehearsal=0.3,
    lips_parted=True,
)  # fmt: skip


def test_what_is_rehearsed_shuts_the_lips_for_p_b_m_and_opens_them_for_vowels() -> None:
    kept = load_rehearsal(load_extractor(PHONES), LIVE)
    assert kept is not None and len(kept.contexts) == len(kept.lips) >= 3000  # two minutes
    (gap,) = -kept.distances([(*INNER_LIPS, 1)]).T
    heard = kept.contexts[:, -1, 16 - 4 : 16 - 2].mean(1)  # the frame's own two steps: one frame is heard ahead
    closed, vowel = heard[:, NAMES.index("PP")] > 0.9, heard[:, NAMES.index("vowel")] > 0.9
    assert closed.sum() > 50 and vowel.sum() > 500
    assert np.median(gap[closed]) < 0.02 < 0.08 < np.median(gap[vowel])


def test_other_features_rehearse_nothing() -> None:
    assert load_rehearsal(load_extractor(FeatureSpec(name="logmel")), LIVE) is None
    assert load_rehearsal(load_extractor(PHONES), WindowSpec(look_ahead="published")) is None


def test_the_lips_are_asked_as_far_as_this_mouth_opens(clip: Path, tmp_path: Path) -> None:
    data = Dataset(clip)
    speech = listen(data, CONFIG, tmp_path)
    footage = Footage(data, speech.contexts, CONFIG, torch.device("cpu"), None, speech.quiet, (), speech.rehearsal)
    lips = LipMotion(footage, rehearsal=CONFIG.rehearsal)
    ours, theirs = (part[:, MIDDLE].numpy() for part in (lips.filmed[list(footage.train)], lips.rehearsed))
    np.testing.assert_allclose(np.percentile(theirs, (LOW, HIGH)), np.percentile(ours, (LOW, HIGH)), atol=1e-3)

    batch = footage.draw(3, torch.Generator().manual_seed(0))
    run = begin(footage, data, speech, CONFIG)
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    gaussians = run.gaussians.gaussians()
    _, moved = predict_offsets(gaussians, run.network, batch, settings, lips.points)
    assert moved is not None and moved.rehearsed is not None
    assert moved.frames.shape == moved.swapped.shape == moved.rehearsed.shape == (3, 20, 3)
    untaught = torch.cat([moved.frames, moved.rehearsed]).detach()
    right = torch.zeros(6, 20, 3)
    wanted = torch.cat([lips.filmed[batch.frames], lips.rehearsed[batch.rehearsed]])
    for column, (a, _, axis) in enumerate(APART):
        right[:, a - 48, axis] = -wanted[:, column]
    assert float(lips(right, batch, 0.5)) < 1e-6 < float(lips(untaught, batch, 0.5))
    wrong = right.clone()
    wrong[3:] = 0  # the film's frames are right, what is rehearsed is not
    costs = [float(LipMotion(footage, rehearsal=share)(wrong, batch, 0.5)) for share in (0.0, 0.5, 1.0)]
    assert costs[0] < 1e-6 and costs[2] > 1e-3
    np.testing.assert_allclose(costs[1], costs[2] / 2, rtol=1e-3)
    if LIPS_PARTED in footage.expression_names:
        assert not batch.other_expression[:, footage.expression_names.index(LIPS_PARTED)].any()

    footage.landmarks[:] = footage.landmarks[:1]  # nobody speaks, and nothing moves
    footage.head_poses[:] = footage.head_poses[:1].clone()
    spread = np.ptp(np.percentile(LipMotion(footage).rehearsed[:, MIDDLE].numpy(), (LOW, HIGH)))
    spoken = np.ptp(np.percentile(footage.rehearsal.distances(APART)[:, MIDDLE], (LOW, HIGH)))
    assert spread == pytest.approx(LEAST * spoken, rel=1e-3)

    alone = Footage(data, speech.contexts, CONFIG, torch.device("cpu"), None, speech.quiet)
    _, moved = predict_offsets(gaussians, run.network, alone.draw(3, torch.Generator()), settings, lips.points)
    assert moved is not None and moved.rehearsed is None

    record_tokens(run, footage)  # what the rest of the face never learned from stays outside the support
    assert len(run.network.recorded_tokens) == len(footage.train)


def test_wide_lips_count_more_where_asked(clip: Path, tmp_path: Path) -> None:
    data = Dataset(clip)
    speech = listen(data, CONFIG, tmp_path)
    footage = Footage(data, speech.contexts, CONFIG, torch.device("cpu"))
    alike, weighed = LipMotion(footage), LipMotion(footage, 3.0)
    shut = alike.filmed[:, MIDDLE].argsort(descending=True)
    still = torch.zeros(4, 20, 3)
    for frames, low, high in ((shut[:4], 1.0, 1.9), (shut[[0, 1, -2, -1]], 3.0, 4.0)):
        batch = footage.batch(frames)
        factor = float(weighed(still, batch, 0.5) / alike(still, batch, 0.5))
        assert low <= factor <= high + 1e-4
