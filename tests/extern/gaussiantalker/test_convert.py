"""A trained GaussianTalker as files: found, imported, drawn as the original would, driven by a published audio file."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from being.extern.gaussiantalker import find_checkpoint, load_network, read_checkpoint, read_scene, to_avatar, write_ply
from scipy.io import wavfile
from support.published import random_points, random_state, tensors, write_footage, write_model

from being import cli
from being.audio.windows import WindowSpec, audio_context
from being.avatar.folder import load_avatar
from being.avatar.library import Library
from being.avatar.trust import consent_trust
from being.dataset.folder import read_picture
from being.errors import BeingError, FormatError, InputError
from being.graph.local import InProcessGraph
from being.graph.offline import perform, whole
from being.graph.recorded import RecordedEncoder
from being.inference.engine import Engine
from being.inference.frames import Drive
from being.live.requests import OutputFormat
from being.model.ply import load_ply
from being.raster import Cameras, Splats, rasterize
from being.raster.colour import spherical_harmonics

RECORDING = Path(__file__).parents[4] / "shared" / "fixtures" / "gaussiantalker_parity.pt"


def imported(root: Path, state: dict[str, torch.Tensor], width: int) -> Path:
    """An avatar's folder made of files as the published training leaves them."""
    checkpoint = read_checkpoint(write_model(root / "output", state))
    data = write_footage(root / "data", width)
    windows = data / ("aud_ds.npy" if width == 29 else "aud_eo.npy")
    to_avatar(checkpoint, read_scene(data), root / "avatars" / "obama", windows=windows)
    return root / "avatars" / "obama"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    imported(root, tensors(random_state(width=44)), 44)
    return root


def as_the_original(
    state: dict[str, torch.Tensor], data: Path, windows: np.ndarray, index: int, sound_frame: int
) -> np.ndarray:
    """Frame `index`'s pose and blink, the sound of `sound_frame`: the published recipe, each step spelled out."""
    tracked = torch.load(data / "track_params.pt", weights_only=True)
    a, b, c = tracked["euler"][index].double()
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    rx = torch.stack([one, zero, zero, zero, a.cos(), -a.sin(), zero, a.sin(), a.cos()]).reshape(3, 3)
    ry = torch.stack([b.cos(), zero, b.sin(), zero, one, zero, -b.sin(), zero, b.cos()]).reshape(3, 3)
    rz = torch.stack([c.cos(), c.sin(), zero, -c.sin(), c.cos(), zero, zero, zero, one]).reshape(3, 3)
    trans = tracked["trans"][index].double()
    rotation = -(torch.diag(torch.tensor([-1.0, 1, 1], dtype=torch.float64)) @ rx @ ry @ rz).T
    translation = torch.stack([trans[0], -trans[1], -trans[2]])
    camera = torch.cat([rotation.reshape(-1), translation]).float()[None]
    padded = np.concatenate([np.zeros((4, *windows.shape[1:])), windows, np.zeros((3, *windows.shape[1:]))])
    heard = torch.from_numpy(padded[sound_frame : sound_frame + 8]).float().transpose(1, 2)[None]
    blink = torch.tensor([[min(2.5 * (index % 20 == 3), 2) / 2]])
    rest = random_points()
    network = load_network(state)
    with torch.no_grad():
        xyz, scales, quats, opacity, sh = network(
            rest.xyz, rest.log_scales, rest.quats, rest.opacity_logits[:, None], rest.sh, heard, blink, camera
        )
    # Its camera: R' holds the world's axes in columns, the centre is -R' T'; colours by the direction from that centre.
    view = torch.cat([rotation.T, translation[:, None]], dim=1).float()
    centre = -(rotation @ translation).float()
    towards = torch.nn.functional.normalize(xyz[0] - centre, dim=-1)
    splats = Splats(
        xyz[0],
        torch.nn.functional.normalize(quats[0], dim=-1),
        scales[0].exp(),
        opacity[0, :, 0].sigmoid(),
        spherical_harmonics(sh[0], towards),
        (0, len(rest.xyz)),
    )
    camera_of_it = Cameras(view[None], torch.tensor([[150.0, 150, 32, 24]]), 64, 48)
    drawn = rasterize(splats, camera_of_it, backend="reference")
    plate = torch.from_numpy(read_picture(data / "bc.jpg").copy()).float() / 255
    picture = drawn.rgb[0] + (1 - drawn.alpha[0, ..., None]) * plate
    return (picture.clamp(0, 1) * 255).numpy()


def check_rendering(folder: Path, state: dict[str, torch.Tensor], data: Path, windows: np.ndarray) -> None:
    avatar = load_avatar(folder)
    contexts = audio_context(windows.astype(np.float32), WindowSpec(look_ahead="published"))
    motion = avatar.motion
    drives = [
        Drive("obama", contexts[k], float(motion.eye[k]), motion.head_pose[k], motion.torso_pose[k])
        for k in (0, 3, len(windows) - 1)
    ]
    assert motion.eye[3] == 1
    pictures = [record.image for record in Engine(Library([folder.parent]), "cpu", "full").render(drives)]
    for k, picture in zip((0, 3, len(windows) - 1), pictures, strict=True):
        assert picture is not None
        expected = as_the_original(state, data, windows, k, k)
        assert np.abs(picture - expected).max() <= 2.0, k  # of 255: rounding, and the fast path's cut-offs
        assert np.abs(picture - read_picture(data / "bc.jpg").astype(float)).max() > 60  # somebody is there


def test_it_renders_as_the_original_would(root: Path) -> None:
    data = root / "data"
    check_rendering(root / "avatars" / "obama", tensors(random_state(width=44)), data, np.load(data / "aud_eo.npy"))


@pytest.mark.skipif(not RECORDING.exists(), reason="the recording of the published network is not at hand")
def test_the_recorded_network_imports_and_renders(tmp_path: Path) -> None:
    """29 wide, without the fixture's own points: random ones. Its offsets are compared in the network's test too."""
    recording = torch.load(RECORDING, weights_only=True)
    folder = imported(tmp_path, recording["state_dict"], 29)
    network, given = load_avatar(folder).network, recording["inputs"]
    from being.model.network import Conditions

    with torch.no_grad():
        offsets = network(given["xyz"], Conditions(given["audio"].transpose(2, 3), given["eye"], given["cam"]))
    torch.testing.assert_close(given["xyz"] + offsets.xyz, recording["outputs"]["xyz"], atol=1e-4, rtol=0)
    torch.testing.assert_close(given["shs"] + offsets.sh, recording["outputs"]["shs"], atol=1e-4, rtol=0)
    data = tmp_path / "data"
    check_rendering(folder, recording["state_dict"], data, np.load(data / "aud_ds.npy"))


def test_the_avatar_knows_how_it_listens(root: Path) -> None:
    manifest = load_avatar(root / "avatars" / "obama").manifest
    assert manifest.look_ahead == "published" and manifest.features.name == "wav2vec2"
    assert (manifest.width, manifest.height, manifest.focal) == (64, 48, 150)
    assert load_avatar(root / "avatars" / "obama").network.recorded_tokens.shape == (60, 5, 64)
    assert not consent_trust(manifest).serve


class Kept:
    """A sink that keeps the pictures."""

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []

    def sound(self, sound: np.ndarray) -> None:
        pass

    def picture(self, index: int, record: Any) -> None:
        assert record.error is None, record.error
        self.pictures.append(record.image)


def test_a_published_audio_file_drives_it(root: Path, tmp_path: Path) -> None:
    import asyncio

    folder = root / "avatars" / "obama"
    frames = 21
    windows = np.random.default_rng(1).normal(size=(frames - 2, 16, 44)).astype(np.float32)
    np.save(tmp_path / "speech_eo.npy", windows)
    encoder = RecordedEncoder(tmp_path / "speech_eo.npy", load_avatar(folder).manifest, frames)
    graph = InProcessGraph(Engine(Library([folder.parent]), "cpu", "full"), encoder)
    try:
        facts = asyncio.run(graph.prepare("obama"))
        assert facts.audio_range.look_ahead_s == pytest.approx(0.24)  # after the end of a frame's own 40 ms
        face = np.zeros(640 * frames, np.float32)
        sink = Kept()
        sound = whole(face, np.zeros((3 * len(face), 1), np.float32))
        asyncio.run(perform(graph, facts, OutputFormat(64, 48), sound, sink))  # type: ignore[arg-type]
        assert len(sink.pictures) == frames
        # What each frame was fed: windows t-4 .. t+3, the last one repeated to the sound's end, zero outside it.
        held = np.concatenate([windows, windows[-1:], windows[-1:]])
        expected = audio_context(held, WindowSpec(look_ahead="published"))
        from being.live.session import Session

        session = Session("x", facts, OutputFormat(64, 48))
        for first in (0, 16):
            request = session.take(min(16, frames - first), now=0.0).request
            features = load_avatar(folder).manifest.features
            (fed,) = encoder.encode([(request, features, WindowSpec(look_ahead="published"))])
            assert isinstance(fed, np.ndarray)
            np.testing.assert_array_equal(fed, expected[first : first + len(fed)])
    finally:
        graph.close()


def test_audio_files_that_do_not_fit(root: Path, tmp_path: Path, tiny_folder: Path) -> None:
    manifest = load_avatar(root / "avatars" / "obama").manifest
    np.save(tmp_path / "aud_ds.npy", np.zeros((5, 16, 29)))
    with pytest.raises(InputError, match="29 wide, avatar 'obama' listens to 44"):
        RecordedEncoder(tmp_path / "aud_ds.npy", manifest, 5)
    np.save(tmp_path / "wide.npy", np.zeros((5, 16, 32)))
    with pytest.raises(InputError, match="looks 1 frames ahead"):
        RecordedEncoder(tmp_path / "wide.npy", load_avatar(tiny_folder / "tiny").manifest, 5)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 16, 44), }"
    header += b" " * (117 - len(header)) + b"\n"
    (tmp_path / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InputError, match=r"huge\.npy is not a readable"):
        RecordedEncoder(tmp_path / "huge.npy", manifest, 5)


def test_which_checkpoint(tmp_path: Path) -> None:
    state = {"a": torch.zeros(1)}
    for iteration in ("coarse_iteration_7999", "fine_iteration_500", "fine_iteration_10000", "iteration_300"):
        write_model(tmp_path, state, iteration)
    assert find_checkpoint(tmp_path).name == "fine_iteration_10000"
    assert find_checkpoint(tmp_path, 7999).name == "coarse_iteration_7999"
    assert find_checkpoint(tmp_path / "point_cloud" / "iteration_300").name == "iteration_300"
    with pytest.raises(InputError, match=r"no iteration 4 .*coarse_iteration_7999"):
        find_checkpoint(tmp_path, 4)
    with pytest.raises(InputError, match="no fine iteration"):
        find_checkpoint(tmp_path / "nowhere")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this must never be said",))


def hostile(name: str, model: Path, data: Path) -> None:
    """Spoil one file."""
    inner = model / "point_cloud" / "iteration_10000"
    state = tensors(random_state())
    if name == "code":
        torch.save({"deformation_net.null_vector": Bomb()}, inner / "deformation.pth")
    elif name == "plain pickle":
        (inner / "deformation.pth").write_bytes(pickle.dumps(Bomb()))
    elif name == "nan":
        state["deformation_net.shs_deform.3.bias"][7] = float("nan")
        torch.save(state, inner / "deformation.pth")
    elif name == "shape":
        state["deformation_net.pos_deform.3.weight"] = torch.zeros(3, 5)
        torch.save(state, inner / "deformation.pth")
    elif name == "expanded":  # a few bytes that claim to be terabytes
        state["deformation_net.tri_plane.grid.grids.0.0"] = torch.zeros(1).expand(1, 32, 10**6, 10**6)
        torch.save(state, inner / "deformation.pth")
    elif name == "zip bomb":
        with zipfile.ZipFile(inner / "deformation.pth", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02}.")
            archive.writestr("archive/data/0", b"\0" * (8 << 20))
    elif name == "cut ply":
        ply = inner / "point_cloud.ply"
        ply.write_bytes(ply.read_bytes()[:-100])
    elif name == "ply of nan":
        gaussians = random_points()
        gaussians.xyz[3] = float("nan")
        write_ply(inner / "point_cloud.ply", gaussians)
    elif name == "tracking nan":
        tracked = torch.load(data / "track_params.pt", weights_only=True)
        tracked["euler"][4, 1] = float("inf")
        torch.save(tracked, data / "track_params.pt")
    elif name == "camera":
        (data / "transforms_train.json").write_text('{"focal_len": 1e3, "cx": 1e9, "cy": 5, "frames": []}')
    elif name == "blinks":
        (data / "au.csv").write_text("frame, AU01_r\n1, 0.0\n")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("code", "deformation.pth is not a plain"),
        ("plain pickle", "deformation.pth is not a plain"),
        ("nan", "deformation.pth: .*shs_deform.3.bias"),
        ("shape", "deformation.pth: .*pos_deform.3.weight"),
        ("expanded", "claims more than the file holds"),
        ("zip bomb", "claims more bytes than it has"),
        ("cut ply", "point_cloud.ply: truncated"),
        ("ply of nan", "point_cloud.ply: .*xyz of row 3"),
        ("tracking nan", "track_params.pt, 'euler' is not finite"),
        ("camera", "transforms_train.json: focal_len"),
        ("blinks", "au.csv has no column 'AU45_r'"),
    ],
)
def test_hostile_files_are_refused_and_nothing_is_left(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = write_model(tmp_path / "output", tensors(random_state())), write_footage(tmp_path / "data")
    hostile(name, model, data)
    with pytest.raises(FormatError, match=words):
        to_avatar(read_checkpoint(model), read_scene(data), tmp_path / "avatars" / "obama")
    assert not (tmp_path / "avatars").exists()
    assert "never be said" not in capsys.readouterr().out


def test_the_commands(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["being", *map(str, arguments)])
            patch.setattr("signal.signal", lambda *_: None)
            with pytest.raises(SystemExit) as leave:
                cli.main()
        out, err = capsys.readouterr()
        return int(leave.value.code or 0), out, err

    out = tmp_path / "avatars" / "lincoln"
    arguments = ("import", "gaussiantalker", root / "output", "--data", root / "data", "-o", out)
    status, said, err = run(*arguments, "--name", "Abraham")
    assert status == 0, err
    assert "200 Gaussians" in said and "64x48" in said and "44 wide" in said
    assert load_avatar(out).manifest.name == "Abraham"
    status, _, err = run(*arguments)
    assert status == cli.USER_ERROR and "already exists" in err
    status, _, err = run(*arguments[:-1], out.with_name("Abe L."))
    assert status == cli.USER_ERROR and "cannot be an avatar's id" in err
    wavfile.write(tmp_path / "speech.wav", 16_000, np.zeros(3200, np.int16))
    features = ("--features", root / "data" / "aud_eo.npy")
    status, said, err = run("render", tmp_path / "speech.wav", "-o", tmp_path / "frames", "--avatar", out, *features)
    assert status == 0, err
    assert "5 frames of 64x48" in said and "look-ahead 240 ms" in said
    assert len(list((tmp_path / "frames").glob("*.png"))) == 5
    status, said, err = run("export", "ply", out, "-o", tmp_path / "lincoln.ply", "--strict")
    assert status == 0, err
    standard = load_ply(tmp_path / "lincoln.ply")
    torch.testing.assert_close(standard.sh, random_points().sh)
    assert b"head_weight" not in (tmp_path / "lincoln.ply").read_bytes()[:4096]
    status, _, err = run("export", "ply", out, "-o", tmp_path / "no" / "such" / "folder.ply")
    assert status == cli.USER_ERROR and "cannot be written" in err


def test_deepspeech_without_a_file_says_what_to_do() -> None:
    from being.audio.extractors import load_extractor
    from being.audio.features import FeatureSpec

    with pytest.raises(BeingError, match=r"--features aud_ds\.npy"):
        load_extractor(FeatureSpec(name="deepspeech"))
