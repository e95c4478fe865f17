"""The guard: what is kept apart, and that a network is kept only where it is better than its references alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from being.refine.native.network import RefineConfig, RefineNetwork
from being.refine.native.references import ZERO
from being.training.refiner.guard import EVERY, Guard, apart, distances, ratios
from being.training.refiner.judging import Judged, judge_both
from being.training.refiner.loop import Trained
from being.training.refiner.pairs import CropSampler, Pairs, packed

COUNT, SIDE = 16, 48
CONFIG = RefineConfig(width=8, depths=(1, 1, 1), band=0, references=4, texels=64)


def pairs() -> Pairs:
    """The render lacks the film's detail."""
    random = torch.Generator().manual_seed(0)
    film = F.interpolate(torch.rand(COUNT, 3, SIDE // 2, SIDE // 2, generator=random), size=(SIDE, SIDE))
    soft = F.avg_pool2d(film, 5, stride=1, padding=2, count_include_pad=False)
    renders, truth = ((255 * part.permute(0, 2, 3, 1)).round().byte() for part in (soft, film))
    return Pairs(
        frames=torch.arange(COUNT),
        renders=renders,
        truth=truth,
        alpha=torch.full((COUNT, SIDE, SIDE), 255, dtype=torch.uint8),
        plate=torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8),
        windows=torch.tensor([[0, 0, SIDE, SIDE]] * COUNT),
        boxes=torch.tensor([[4.0, 4, 44, 44]] * COUNT),
        lips=torch.tensor([[16.0, 24, 32, 32]] * COUNT),
        seen=torch.zeros(COUNT, dtype=torch.bool),
        avatars=torch.tensor([1] * 8 + [2] * 8),
        head_poses=torch.eye(3, 4).repeat(COUNT, 1, 1),
        depth=torch.full((COUNT, SIDE, SIDE), 8.0, dtype=torch.float16),
        camera=(100.0, 100.0, SIDE / 2, SIDE / 2),
    )


def adding(share: float) -> dict[str, torch.Tensor]:
    """A network that adds `share` of the guide beside what the references alone add."""
    network = RefineNetwork(CONFIG)
    assert network.leave.bias is not None
    with torch.no_grad():
        network.leave.bias.view(4, 4)[3] = share
    return network.state_dict()


def test_a_share_of_each_folds_blocks_is_kept_apart_and_never_drawn() -> None:
    known = replace(pairs(), seen=torch.arange(COUNT) == 9)
    kept = apart(known)
    assert kept.sum() == 8 // EVERY + 7 // EVERY and not kept[9]
    drawn = CropSampler(known, 32, 0.5, 0, apart=kept)
    assert not set(torch.cat(drawn._sources).tolist()) & set(torch.nonzero(kept).flatten().tolist())


def test_a_network_that_is_worse_is_not_kept_and_one_that_goes_too_far_is_weakened() -> None:
    source = pairs()
    lacking = ((source.truth.float() - source.renders.float()) / 255).permute(0, 3, 1, 2)
    guides = packed(torch.cat([0.5 * lacking, torch.zeros(COUNT, 1, SIDE, SIDE)], 1))  # references give half of it
    guard = Guard(source, guides, None)
    assert guard.best(CONFIG, [adding(-0.5)])[0] is None
    kept, scores = guard.best(CONFIG, [adding(-0.5), adding(1.0)])
    assert kept is not None and scores["2/2 x 1"] < 0.2
    torch.testing.assert_close(kept["leave.bias"], adding(1.0)["leave.bias"])
    kept, scores = guard.best(CONFIG, [adding(2.0)])
    assert kept is not None and scores["1/1 x 0.5"] < scores["1/1 x 0.25"] < scores["1/1 x 1"]
    torch.testing.assert_close(kept["leave.bias"], adding(1.0)["leave.bias"])


def test_what_is_gained_in_one_measure_is_not_set_off_against_another() -> None:
    # What a network on top did of a real clip (benchmarks/results/refine_native.json): the spectrum hid the rest.
    alone = {"psnr": 27.13, "unlike": 0.1104, "spectrum": 0.1543}
    assert ratios({"psnr": 27.13, "unlike": 0.1181, "spectrum": 0.0949}, alone) is None
    assert ratios({"psnr": 26.84, "unlike": 0.1104, "spectrum": 0.0949}, alone) is None
    found = ratios({"psnr": 27.1, "unlike": 0.11, "spectrum": 0.0949}, alone)
    assert found is not None and found["spectrum"] < 0.62


def test_noise_of_the_films_strength_is_no_gain() -> None:
    source = pairs()
    noise = torch.randn(source.renders.shape, generator=torch.Generator().manual_seed(1))
    noisy = (source.renders + 25 * noise).clamp(0, 255).byte()
    before, after = (distances(made, source.truth, source.boxes, None) for made in (source.renders, noisy))
    assert after["spectrum"] < 0.8 * before["spectrum"] and after["gradients"] > before["gradients"]
    assert ratios(after, before) is None


def test_a_network_that_is_worse_on_held_out_frames_is_left_out() -> None:
    source = pairs()
    source = replace(source, truth=(source.renders.int() + 10).clamp(max=255).byte())
    network = RefineNetwork(CONFIG)
    assert network.references is not None
    network.references.camera.copy_(torch.tensor([100.0, 100, 32, 32]))
    network.references.differences.fill_(ZERO + 10)  # which is all that is missing
    known = {name: value.clone() for name, value in network.state_dict().items()}
    references = {name: value for name, value in known.items() if name.startswith("references.")}
    alone = Trained(CONFIG.model_copy(update={"width": 0}), references)
    harmless = Trained(CONFIG, known, alone=alone)
    assert judge_both(source, harmless, 8.0)[0] is harmless
    undone = Trained(CONFIG, known | {"leave.bias": adding(-1.0)["leave.bias"]}, steps=7, alone=alone)
    kept, judged = judge_both(source, undone, 8.0)
    assert kept.network.width == 0 and kept.state is references and kept.steps == 7
    assert judged.harmless and judged.refined["psnr"] > judged.raw["psnr"] + 3


def test_without_frames_to_judge_by_no_network_is_kept() -> None:
    none = replace(pairs(), seen=torch.ones(COUNT, dtype=torch.bool))
    assert Guard(none, None, None).best(CONFIG, [adding(1.0)]) == (None, {})


def test_a_network_that_does_not_pay_leaves_references_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    source = pairs()
    alone = Trained(CONFIG.model_copy(update={"width": 0}), {})

    def judged(pairs: Pairs, network: RefineConfig, *rest: object) -> Judged:
        return Judged(1.0, True, {}, {}, 0.0, source.renders, pays=network.width == 0)

    monkeypatch.setattr("being.training.refiner.judging.judge", judged)
    kept, found = judge_both(source, Trained(CONFIG, {}, alone=alone), 8.0)
    assert kept.network.width == 0 and found.kept
