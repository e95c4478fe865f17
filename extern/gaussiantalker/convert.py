"""A trained GaussianTalker -> an avatar's folder.

The checkpoint knows the head. Where the camera stood, how the head moved, how the eyes blinked and what is behind it
are in the dataset it was trained on, which is asked for too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from being.extern.gaussiantalker.checkpoint import Checkpoint
from being.extern.openface import read_units
from being.extern.untrusted import load_array, load_tensors
from numpy.typing import NDArray

from being.audio.features import FeatureSpec
from being.audio.talking import talking_frames
from being.audio.windows import WindowSpec, audio_context
from being.avatar.consent import ConsentRecord
from being.avatar.content import read_json
from being.avatar.folder import Avatar, save_avatar
from being.avatar.motion import Motion
from being.avatar.schema import AvatarManifest
from being.constants import MAX_PICTURE_SIDE
from being.dataset.folder import plate_path, read_picture, read_wav
from being.dataset.pose import pose_of_tracking, rest_pose
from being.dataset.tracking import FULL_BLINK, finite
from being.errors import FormatError, InputError
from being.inference.backends.torch import TorchBackend
from being.inference.frames import Drive, PixelFormat
from being.inference.renderable import RenderableAvatar
from being.model import Conditions, DeformationNetwork, camera_code

LISTENS = {29: FeatureSpec(name="deepspeech"), 44: FeatureSpec(name="wav2vec2")}
PUBLISHED = WindowSpec(look_ahead="published")
TOKENS = 512  # frames whose condition tokens are kept, for the cheaper forms
_DATA = "Give the dataset it was trained on: track_params.pt, transforms_train.json, au.csv, bc.jpg"


def find_windows(data: Path, width: int) -> Path | None:
    """The file of feature windows of that width in a dataset, or None."""
    for name in ("aud_ds.npy", "aud_eo.npy", "aud.npy"):
        path = Path(data) / name
        if path.is_file() and load_array(path, (None, 16, None), _DATA).shape[2] == width:
            return path
    return None


@dataclass(frozen=True)
class Scene:
    """What the dataset tells: the camera in pixels, T frames of motion, and what stands behind the head."""

    width: int
    height: int
    focal: float
    cx: float
    cy: float
    motion: Motion
    background: NDArray[np.uint8]
    ordinary: int
    """The frame whose head stands nearest to where it usually is."""


def read_scene(data: Path, torso: bool = True) -> Scene:
    """Read the dataset of a trained GaussianTalker; pictures of the frames are not needed.

    Parameters
    ----------
    torso : lay `torso_imgs` of the most ordinary frame, where there is one, over the plate. The original shows the
        filmed torso of every frame; an avatar says what was never filmed, so its torso stands still.

    Raises
    ------
    InputError, FormatError
        A file is missing, hostile, damaged, of a wrong shape or not finite.
    """
    data = Path(data)
    if not data.is_dir():
        raise InputError(f"{data} is not a folder", _DATA)
    euler, trans = _tracking(data / "track_params.pt")
    poses = pose_of_tracking(euler, trans)
    document = read_json(data / "transforms_train.json")
    try:
        focal, cx, cy = (float(document[name]) for name in ("focal_len", "cx", "cy"))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{data / 'transforms_train.json'} lacks a number ({error})", _DATA) from error
    centred = all(8 <= value <= MAX_PICTURE_SIDE / 2 for value in (cx, cy))
    if not (np.isfinite([focal, cx, cy]).all() and focal > 0 and centred):
        raise FormatError(f"{data / 'transforms_train.json'}: focal_len {focal}, cx {cx}, cy {cy} make no camera")
    blinks = read_units(data / "au.csv").intensities["AU45_r"]
    if len(blinks) < len(poses):
        raise FormatError(f"{data / 'au.csv'} has {len(blinks)} rows for {len(poses)} frames", _DATA)
    eye = (np.clip(blinks[: len(poses)], 0, FULL_BLINK) / FULL_BLINK).astype(np.float32)
    talking = np.ones(len(poses), bool)
    if (data / "aud.wav").is_file():
        talking = talking_frames(read_wav(data / "aud.wav"), len(poses))
    still = np.repeat(rest_pose(poses)[None], len(poses), 0)
    usual = np.abs(poses - np.median(poses, axis=0)).sum(axis=(1, 2)) + eye
    ordinary = int(usual.argmin())
    width, height = round(2 * cx), round(2 * cy)  # the original takes the picture's size from the principal point
    background = _plate(data, ordinary if torso else None, width, height)
    return Scene(width, height, focal, cx, cy, Motion(poses, still, eye, talking), background, ordinary)


def to_avatar(
    checkpoint: Checkpoint,
    scene: Scene,
    out: Path,
    *,
    windows: Path | None = None,
    name: str | None = None,
    features: FeatureSpec | None = None,
    consent: ConsentRecord | None = None,
    replace: bool = False,
) -> Avatar:
    """Write the avatar's folder `out`, whose name is its id.

    Parameters
    ----------
    windows : feature windows (N, 16, D) of the training clip. The condition tokens of its frames are recorded from
        them, which is what the cheaper forms are fitted to; without, of silence.
    features : what the avatar listens to; by the network's width where None: 44 is wav2vec2 (Esperanto), which Being
        can compute, 29 is DeepSpeech, which it cannot: such an avatar speaks from files (`being render --features`).

    Raises
    ------
    InputError
        `out` exists or cannot be written, or `windows` are of another width.
    FormatError
        The avatar would not load again.
    """
    config = checkpoint.network.config
    count = len(scene.motion)
    contexts = np.zeros((count, config.audio_frames, config.audio_window, config.audio_width), np.float32)
    if windows is not None:
        contexts = _contexts(windows, count, config.audio_width)
    _record_tokens(checkpoint.network, contexts, scene.motion)
    manifest = AvatarManifest(
        id=out.name,
        name=name or out.name,
        width=scene.width,
        height=scene.height,
        focal=scene.focal,
        cx=scene.cx,
        cy=scene.cy,
        features=features or LISTENS.get(config.audio_width, FeatureSpec(name="deepspeech")),
        look_ahead="published",
        network=config,
        gaussians=checkpoint.gaussians.count,
        consent=consent or ConsentRecord(),
    )
    avatar = Avatar(manifest, checkpoint.gaussians, checkpoint.network, scene.motion, scene.background)
    pose, frame = scene.motion, scene.ordinary
    drive = Drive(out.name, contexts[frame], float(pose.eye[frame]), pose.head_pose[frame], pose.torso_pose[frame])
    item = RenderableAvatar(avatar, torch.device("cpu")), drive
    preview = TorchBackend().render([item], PixelFormat.RGB).pixels[0].numpy()
    return save_avatar(avatar, out, preview=preview, replace_existing=replace)


def _tracking(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """euler (T, 3) and trans (T, 3), in front of the camera."""
    entries = load_tensors(path, _DATA)
    for name in ("euler", "trans"):
        if name not in entries:
            raise FormatError(f"{path} has no tensor {name!r}", _DATA)
    euler = finite(entries["euler"].detach().numpy(), (None, 3), f"{path}, 'euler'").astype(np.float64)
    trans = finite(entries["trans"].detach().numpy(), (len(euler), 3), f"{path}, 'trans'").astype(np.float64)
    if len(euler) < 2 or (trans[:, 2] >= 0).any():
        raise FormatError(f"{path} tracks {len(euler)} frames, expected 2 or more with the head before the camera")
    return euler, trans


def _plate(data: Path, torso_frame: int | None, width: int, height: int) -> NDArray[np.uint8]:
    from PIL import Image

    plate = read_picture(plate_path(data))
    if plate.shape[:2] != (height, width):
        plate = np.asarray(Image.fromarray(plate).resize((width, height), Image.Resampling.BOX))
    torso = data / "torso_imgs" / f"{torso_frame}.png"
    if torso_frame is None or not torso.is_file():
        return plate
    layer = read_picture(torso, "RGBA").astype(np.float32)
    if layer.shape[:2] != (height, width):
        raise FormatError(f"{torso} is {layer.shape[1]}x{layer.shape[0]}, the frame {width}x{height}", _DATA)
    alpha = layer[..., 3:] / 255
    return (layer[..., :3] * alpha + plate * (1 - alpha) + 0.5).astype(np.uint8)


def _contexts(path: Path, frames: int, width: int) -> NDArray[np.float32]:
    stored = load_array(path, (None, 16, None), "Give the aud_ds.npy or aud_eo.npy of the training clip")
    if not len(stored) or stored.shape[2] != width:
        raise InputError(f"{path} has shape {stored.shape}, the network listens to (N, 16, {width})")
    windows = stored[np.minimum(np.arange(frames), len(stored) - 1)].astype(np.float32)
    return audio_context(windows, PUBLISHED)


@torch.no_grad()
def _record_tokens(network: DeformationNetwork, contexts: NDArray[np.float32], motion: Motion) -> None:
    chosen = np.linspace(0, len(motion) - 1, min(TOKENS, len(motion))).round().astype(int)
    conditions = Conditions(
        audio=torch.from_numpy(contexts[chosen]),
        eye=torch.from_numpy(motion.eye[chosen])[:, None],
        camera=camera_code(torch.from_numpy(motion.head_pose[chosen])),
    )
    network.record(network.condition_tokens(conditions))
