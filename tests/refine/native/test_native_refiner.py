"""The native refiner: who is known, whose weights are used, rows that do not mix, and files that are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.native_refiner import ALONE, GAINED, GUIDED, SMALL, give_refiner, trained
from support.tiny import make_tiny_avatar

from being.avatar.folder import Avatar, save_avatar
from being.avatar.library import Library
from being.errors import FormatError, InputError
from being.inference.engine import Engine
from being.inference.frames import Drive
from being.refine.contract import Conditions, CropRows
from being.refine.load import load_refiner as load_backend
from being.refine.native.network import CHANNELS, RefineConfig, RefineNetwork, flops
from being.refine.native.references import View
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


def view_on_a_plane(count: int) -> View:
    poses = torch.eye(3, 4).repeat(count, 1, 1)
    poses[:, 2, 3] = 8
    return View(torch.full((count, 1, 32, 32), 8.0), torch.tensor([[200.0, 200, 16, 16]]).repeat(count, 1), poses)


@pytest.mark.parametrize("config", [GUIDED, ALONE, GAINED], ids=["network", "alone", "gain"])
@torch.inference_mode()
def test_swapped_references_are_the_avatars_own(config: RefineConfig) -> None:
    runner = Runner(config, CPU, torch.float32, graphs=False)
    crops, alpha, view = torch.rand(3, 3, 32, 32), torch.rand(3, 1, 32, 32), view_on_a_plane(3)
    packed = [runner.packed(trained(seed, config=config).state) for seed in (0, 1)]
    for seed in (0, 1, 0):
        network = RefineNetwork(config)
        network.load_state_dict(dict(trained(seed, config=config).state))
        assert network.references is not None
        guide = network.references(crops, view)
        assert guide[:, :3].abs().mean() > 0.01
        torch.testing.assert_close(
            runner.run(packed[seed], crops, alpha, view),
            network(torch.cat([crops, alpha, guide], 1)),
            atol=1e-5,
            rtol=1e-4,
        )


def test_a_new_network_adds_what_its_references_showed_and_so_do_references_alone() -> None:
    entering = torch.rand(2, GUIDED.channels, 16, 16)
    for config in (GUIDED, ALONE):
        torch.testing.assert_close(RefineNetwork(config)(entering), entering[:, 4:7])
    assert not list(RefineNetwork(ALONE).parameters()) and flops(ALONE, 512) == 0


def test_references_are_kept_as_they_are_and_files_without_still_load(tmp_path: Path) -> None:
    before = trained(config=GUIDED)
    save_refiner(tmp_path / FILE, before)
    after = load_refiner(tmp_path / FILE)
    for name, value in before.state.items():
        if name.startswith("references."):
            assert torch.equal(after.state[name], value), name
    state = load_file(tmp_path / FILE)
    wrong = state | {"references.differences": state["references.differences"].half()}
    save_file(wrong, tmp_path / FILE, {"being.refiner": before.facts.model_dump_json()})
    with pytest.raises(FormatError, match=r"differences is torch\.float16, expected bytes"):
        load_refiner(tmp_path / FILE)
    save_refiner(tmp_path / FILE, trained())
    old = '{"kind":"native","version":1,"network":{"width":8,"depths":[1,1,1],"band":9},"strength":1.0,"sides":[32]}'
    save_file(load_file(tmp_path / FILE), tmp_path / FILE, {"being.refiner": old})
    assert load_refiner(tmp_path / FILE).facts.network == SMALL


@torch.inference_mode()
def test_the_engine_lays_references_onto_frames_by_their_depth(tmp_path: Path) -> None:
    avatar = save_avatar(make_tiny_avatar("one"), tmp_path / "avatars" / "one")
    give_refiner(avatar, tmp_path, trained(config=GUIDED))
    library = Library([tmp_path / "avatars"])
    stage = RefineStage(load_backend(RefinerSettings(device="cpu"), library))
    drive = Drive(
        "one",
        np.zeros((8, 16, 32), np.float32),
        0.0,
        avatar.motion.head_pose[5],
        avatar.motion.torso_pose[5],
        width=256,
        height=256,
        refine=1.0,
    )
    made = Engine(library, "cpu", stages=[stage]).render([drive])[0]
    raw = Engine(library, "cpu").render([replace(drive, refine=0.0)])[0]
    assert made.error is None and made.image is not None and raw.image is not None
    assert np.abs(made.image.astype(int) - raw.image).sum() > 10_000


@torch.inference_mode()
def test_crops_are_placed_by_the_avatars_camera_and_their_windows(tmp_path: Path) -> None:
    avatar = save_avatar(make_tiny_avatar(), tmp_path / "avatars" / "tiny")
    give_refiner(avatar, tmp_path, trained(config=GUIDED, strength=0.5))
    refiner = load_backend(RefinerSettings(device="cpu"), Library([tmp_path / "avatars"]))
    refiner.prepare("tiny")
    manifest, view = avatar.manifest, view_on_a_plane(2)
    windows = np.array([[3, 5, 35, 37], [10, 2, 26, 18]], np.float32)  # as large as the crop; resampled by 2
    rows = replace(
        rows_of(("tiny", "tiny")),
        windows=windows,
        head_poses=view.poses.numpy(),
        frame_size=(2 * manifest.width, 2 * manifest.height),
    )
    crops, alpha = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32)
    made = refiner.refine(crops, Conditions(alpha, view.depth), rows)
    fx, fy, cx, cy = (2 * value for value in manifest.intrinsics)
    cameras = torch.tensor([[fx, fy, cx - 3, cy - 5], [2 * fx, 2 * fy, 2 * (cx - 10), 2 * (cy - 2)]])
    network = RefineNetwork(GUIDED)
    network.load_state_dict(dict(trained(config=GUIDED).state))
    assert network.references is not None
    guide = network.references(crops, replace(view, cameras=cameras))
    wanted = crops + 0.5 * network(torch.cat([crops, alpha, guide], 1))
    torch.testing.assert_close(made, wanted, atol=2e-3, rtol=0)  # weights are stored in half precision


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
