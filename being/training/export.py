"""From a finished run to the avatar's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from being.avatar.consent import ConsentRecord
from being.avatar.folder import Avatar, save_avatar
from being.avatar.motion import Motion
from being.avatar.schema import AvatarManifest
from being.avatar.signing import signed_manifest
from being.dataset import Dataset
from being.model import Conditions, camera_code
from being.training.data.face import landmarks_of
from being.training.data.footage import Footage
from being.training.data.parted_lips import LIPS_PARTED
from being.training.data.speech import Speech
from being.training.data.steady_camera import steadied
from being.training.joints import bridged
from being.training.model.drawing import emotion_of
from being.training.run import TrainingRun

TOKEN_CHUNK = 256  # frames whose tokens are computed at once


@torch.no_grad()
def record_tokens(run: TrainingRun, footage: Footage) -> None:
    """Keep the condition tokens of the training frames in the network.

    Approximations are fitted to them, and audio tokens outside their distribution are clamped to it (`token_support`).
    Those of rehearsed speech are not among them: of the face it moves the lips alone have learned from it.
    """
    tokens = []
    for start in range(0, len(footage.train), TOKEN_CHUNK):
        where = torch.tensor(footage.train[start : start + TOKEN_CHUNK], device=footage.device)
        poses = footage.head_poses[where]
        shown = emotion_of(run.network, footage.expressions[where])
        conditions = Conditions(footage.contexts[where], footage.closure[where], camera_code(poses), shown)
        tokens.append(run.network.condition_tokens(conditions).float())
    run.network.record(torch.cat(tokens))


def recorded_motion(footage: Footage, dataset: Dataset, speech: Speech) -> Motion:
    """How the person moved, with the poses that training ended with.

    The motion of a camera that moved is taken out; there is no jump where parts were left out. Lips that parted in
    silence are left shut: played, the same frames come while another sentence is spoken.
    """
    head, torso = footage.head_poses.cpu().numpy(), footage.torso_poses.cpu().numpy()
    frames = dataset.sound_frames
    if dataset.camera_moves:
        head, torso = steadied(head, torso, np.diff(frames) > 1)
    head, torso = bridged(head, frames), bridged(torso, frames)
    expressions = footage.expressions.cpu().numpy().copy()
    if LIPS_PARTED in footage.expression_names:
        expressions[:, footage.expression_names.index(LIPS_PARTED)] = 0
    return Motion(head, torso, dataset.eyes, speech.talking, expressions)


def finished(
    run: TrainingRun,
    footage: Footage,
    dataset: Dataset,
    speech: Speech,
    metrics: dict[str, float],
    id: str,
    name: str,
    consent: ConsentRecord,
) -> Avatar:
    """The run, its tokens recorded, as an avatar on the CPU, where its network moves; nothing is written."""
    fx, _, cx, cy = (float(value) for value in dataset.intrinsics)
    gaussians = run.gaussians.gaussians()
    manifest = AvatarManifest(
        id=id,
        name=name,
        width=dataset.width,
        height=dataset.height,
        focal=fx,
        cx=cx,
        cy=cy,
        features=speech.spec,
        look_ahead=speech.windows.look_ahead,
        landmarks=tuple(map(tuple, landmarks_of(footage).round(4).tolist())),
        network=run.network.config,
        gaussians=gaussians.count,
        metrics=metrics,
        consent=consent,
    )
    at_rest = type(gaussians)(**{key: value.detach().cpu() for key, value in gaussians.tensors().items()})
    motion = recorded_motion(footage, dataset, speech)
    return Avatar(manifest, at_rest, run.network.cpu(), motion, dataset.background)


def write(avatar: Avatar, out: Path, preview: NDArray[np.uint8], replace: bool) -> Avatar:
    """Write the avatar, signed where somebody agreed to it.

    Raises InputError where it cannot be written, FormatError where it would not load again.
    """
    return save_avatar(avatar, out, preview=preview, replace_existing=replace, sign=signed_manifest)
