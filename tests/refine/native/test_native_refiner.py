"""The native refiner: who is known, whose weights are used, rows that do not mix, and files that are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.native_refiner import SMALL, give_refiner, trained
from support.tiny import make_tiny_avatar

from being.avatar.folder import Avatar, save_avatar
from being.avatar.library import Library
from being.errors import FormatError, InputError
from being.inference.engine import Engine
from being.inference.frames import Drive
from being.refine.contract import Conditions, CropRows
from being.refine.load import load_refiner as load_backend
from being.refine.native.network import CHANNELS, RefineConfig, RefineNetwork, flops
from being.refine.native.runner import Runner
from being.refine.native.weights import FILE, load_refiner, save_refiner
from being.refine.settings import RefinerSettings
from being.refine.stage import RefineStage

CPU = torch.device("cpu")


def library_of(*avatars: Avatar) -> Library:
    return Library([avatar.folder.parent for avatar in avatars if avatar.folder is not None])


def rows_of(avatars: tuple[str, ...]) -> CropRows:
    count = len(avatars)
    return CropRows(
        avatars,
        tuple(f"session{row}" for row in range(count)),
        np.zeros(count, np.int64),
        np.arange(count),
        np.zeros((count, 3, 4), np.float32),
        np.tile(np.array([0, 0, 32, 32], np.float32), (count, 1)),
        (64, 64),
        np.ones(count, np.float32),
        np.zeros(count, np.int64),
    )


@pytest.fixture
def three(tmp_path: Path) -> Library:
    """Avatars "one" and "two" with a refiner each, "plain" without."""
    for number, name in enumerate(("one", "two", "plain")):
        avatar = save_avatar(make_tiny_avatar(name, number), tmp_path / "avatars" / name)
        if name != "plain":
            give_refiner(avatar, tmp_path, trained(number))
    return Library([tmp_path / "avatars"])


def test_a_new_network_changes_nothing_and_a_file_keeps_what_it_had(tmp_path: Path) -> None:
    picture = torch.rand(2, CHANNELS, 16, 24)
    assert torch.equal(RefineNetwork(RefineConfig())(picture), torch.zeros(2, 3, 16, 24))
    before = trained(strength=0.7)
    save_refiner(tmp_path / FILE, before)
    after = load_refiner(tmp_path / FILE)
    assert after.facts == before.facts
    for name, value in before.state.items():
        torch.testing.assert_close(after.state[name], value, atol=1e-3, rtol=1e-3)


def test_the_default_network_fits_the_time_it_is_given() -> None:
    """1,500 frames of 512x512 a second on an H100 leave 0.67 ms, 270 GFLOP at the 400 TFLOPS that kernels reach."""
    assert flops(RefineConfig(), 512) < 100e9


def test_swapped_weights_are_the_avatars_own() -> None:
    runner = Runner(SMALL, CPU, torch.float32, graphs=False)
    crops, alpha = torch.rand(3, 3, 32, 32), torch.rand(3, 1, 32, 32)
    packed = [runner.packed(trained(seed).state) for seed in (0, 1)]
    for seed in (0, 1, 0):
        network = RefineNetwork(SMALL)
        network.load_state_dict(dict(trained(seed).state))
        with torch.inference_mode():
            torch.testing.assert_close(
                runner.run(packed[seed], crops, alpha), network(torch.cat([crops, alpha], 1)), atol=1e-5, rtol=1e-4
            )


@torch.inference_mode()
def test_rows_of_several_people_do_not_mix_and_equal_one_by_one(three: Library) -> None:
    refiner = load_backend(RefinerSettings(device="cpu"), three)
    for name in ("one", "two", "plain"):
        refiner.prepare(name)
    assert refiner.knows("one") and not refiner.knows("plain") and not refiner.knows("stranger")
    names = ("one", "two", "one", "two", "two")
    crops, conditions = torch.rand(5, 3, 32, 32), Conditions(torch.rand(5, 1, 32, 32))
    together = refiner.refine(crops, conditions, rows_of(names))
    assert (together - crops).abs().amax((1, 2, 3)).min() > 0.02
    for row, name in enumerate(names):
        alone = refiner.refine(crops[row : row + 1], Conditions(conditions.alpha[row : row + 1]), rows_of((name,)))
        torch.testing.assert_close(together[row], alone[0], atol=1e-4, rtol=0)
    other = crops.clone()
    other[1] = torch.rand(3, 32, 32)
    changed = refiner.refine(other, conditions, rows_of(names))
    assert [torch.equal(changed[row], together[row]) for row in range(5)] == [True, False, True, True, True]


def test_the_strength_of_the_file_scales_the_change(tmp_path: Path) -> None:
    changes = []
    for strength in (1.0, 0.25):
        avatar = save_avatar(make_tiny_avatar(), tmp_path / str(strength) / "tiny")
        give_refiner(avatar, tmp_path, trained(strength=strength))
        refiner = load_backend(RefinerSettings(device="cpu"), library_of(avatar))
        refiner.prepare("tiny")
        crops = torch.full((1, 3, 32, 32), 0.5)
        changes.append(refiner.refine(crops, Conditions(torch.ones(1, 1, 32, 32)), rows_of(("tiny",))) - crops)
    torch.testing.assert_close(changes[1], 0.25 * changes[0])


def test_the_engine_refines_who_has_a_refiner_and_leaves_the_rest_bit_for_bit(three: Library) -> None:
    plain = Engine(three, "cpu")
    engine = Engine(three, "cpu", stages=[RefineStage(load_backend(RefinerSettings(device="cpu"), three))])
    motion = make_tiny_avatar().motion
    context = np.zeros((8, 16, 32), np.float32)
    drives = [
        Drive(name, context, 0.0, motion.head_pose[5], motion.torso_pose[5], width=256, height=256, refine=refine)
        for name, refine in (("one", 1.0), ("one", 0.0), ("plain", 1.0), ("one", 0.5))
    ]
    full, none, stranger, half = (engine.render([drive])[0].image for drive in drives)
    raw, _, other, _ = (plain.render([replace(drive, refine=0.0)])[0].image for drive in drives)
    assert full is not None and none is not None and half is not None and raw is not None
    np.testing.assert_array_equal(none, raw)
    np.testing.assert_array_equal(stranger, other)
    change, less = (np.abs(picture.astype(int) - raw).sum() for picture in (full, half))
    assert change > 10_000 and 0.3 * change < less < 0.7 * change


def test_refiners_leave_with_their_avatars_and_come_back(three: Library) -> None:
    stage = RefineStage(load_backend(RefinerSettings(device="cpu"), three))
    engine = Engine(three, "cpu", capacity=1, stages=[stage])
    motion = make_tiny_avatar().motion
    context = np.zeros((8, 16, 32), np.float32)

    def refined(name: str) -> np.ndarray:
        drive = Drive(name, context, 0.0, motion.head_pose[5], motion.torso_pose[5], width=256, height=256, refine=1.0)
        image = engine.render([drive])[0].image
        assert image is not None
        return image

    first = refined("one")
    refined("two")
    assert engine.resident() == ["two"] and stage.refiner.knows("two") and not stage.refiner.knows("one")
    np.testing.assert_array_equal(refined("one"), first)
    refined("plain")
    assert not stage.refiner.knows("one")


def test_a_newer_refiner_on_disk_is_taken_and_a_damaged_one_named(tiny_avatar: Avatar, tmp_path: Path) -> None:
    library = library_of(tiny_avatar)
    refiner = load_backend(RefinerSettings(device="cpu"), library)
    refiner.prepare("tiny")
    assert not refiner.knows("tiny")
    give_refiner(tiny_avatar, tmp_path, trained())
    library.rescan()
    refiner.prepare("tiny")
    assert refiner.knows("tiny")


def test_files_that_cannot_be_a_refiner_are_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE
    save_refiner(path, trained())
    state = load_file(path)
    header = trained().facts.model_dump_json()
    cases = {
        "does not say what it is": (state, {}),
        "enter.weight is missing": ({k: v for k, v in state.items() if k != "enter.weight"}, {"being.refiner": header}),
        "has shape": (state | {"leave.bias": torch.zeros(3)}, {"being.refiner": header}),
        "not finite": (state | {"leave.bias": torch.full((12,), torch.nan)}, {"being.refiner": header}),
        "more is unknown": (state | {"more": torch.zeros(1)}, {"being.refiner": header}),
        "header": (state, {"being.refiner": '{"kind": "other"}'}),
    }
    for problem, (tensors, metadata) in cases.items():
        save_file(tensors, path, metadata)
        with pytest.raises(FormatError, match=problem):
            load_refiner(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="not a readable"):
        load_refiner(path)


def test_unknown_options_are_named() -> None:
    with pytest.raises(InputError, match="refiner options: steps"):
        load_backend(RefinerSettings(device="cpu", options={"steps": 2}), Library([]))
