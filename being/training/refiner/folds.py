"""Renders of frames that the avatar which drew them never saw: avatars trained on all but a part of the footage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from being.avatar.folder import Avatar
from being.dataset import Dataset
from being.inference.backends.torch import mean_depth
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.data.parted_lips import LIPS_PARTED
from being.training.data.speech import listen
from being.training.fit import choose_device
from being.training.model.drawing import RenderSettings, draw

BLOCK = 16  # frames that follow each other stay in one fold: neighbours are nearly the same picture
AT_ONCE = 4  # frames drawn together


def folds(frames: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """`frames` dealt out in blocks to `count` folds; never an empty one where there are as many frames."""
    block = min(BLOCK, max(1, len(frames) // count))
    return [tuple(f for place, f in enumerate(frames) if place // block % count == fold) for fold in range(count)]


def write_without(dataset: Dataset, frames: Sequence[int], folder: Path) -> Path:
    """A folder of the same footage in which `frames`, and those held out anyway, are held out."""
    folder.mkdir(parents=True, exist_ok=True)
    left = set(frames) | set(dataset.split.val)
    documents = []
    for part in ("train", "val"):
        path = dataset.path / f"transforms_{part}.json"
        if path.exists():
            documents.append(json.loads(path.read_text("utf-8")))
    every = [frame for document in documents for frame in document["frames"]]
    every.sort(key=lambda frame: int(frame["img_id"]))
    for part, out in (("train", False), ("val", True)):
        chosen = [frame for frame in every if (int(frame["img_id"]) in left) == out]
        text = json.dumps(documents[0] | {"frames": chosen})
        (folder / f"transforms_{part}.json").write_text(text, "utf-8")
    for path in dataset.path.iterdir():
        link = folder / path.name
        if not path.name.startswith("transforms_") and not link.exists():
            link.symlink_to(path.resolve(), target_is_directory=path.is_dir())
    return folder


@dataclass(frozen=True, eq=False)
class Renders:
    """Frames as an avatar draws them: numbers (N,), rgb (N, H, W, 3) uint8 over the plate, alpha (N, H, W) uint8,
    depth (N, H, W) float16 mean distance in decimetres, 0 where nothing is, the head poses (N, 3, 4) float32 they were
    drawn with; on the CPU.
    """

    frames: Tensor
    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    head_poses: Tensor


@torch.no_grad()
def render_frames(
    avatar: Avatar,
    dataset: Dataset,
    frames: Sequence[int],
    config: FitConfig,
    cache: Path,
    square: tuple[int, int, int],
) -> Renders:
    """Draw the square (x, y, side) of frames of the footage, moved as the person moved in them."""
    device, precision = choose_device(config)
    speech = listen(dataset, config, cache)
    told = LIPS_PARTED in avatar.manifest.network.emotion_states  # earlier avatars know nothing of it
    config = config.model_copy(update={"lips_parted": config.lips_parted and told})
    footage = Footage(dataset, speech.contexts, config, device, quiet=speech.quiet)
    if dataset.one_take:
        motion = (torch.from_numpy(part).to(device) for part in (avatar.motion.head_pose, avatar.motion.torso_pose))
        footage.adopt(*motion)
    settings = RenderSettings(footage.background, footage.intrinsics, config.backend, precision)
    gaussians, network = avatar.gaussians.to(device), avatar.network.to(device).eval()
    x, y, side = square
    rgb: list[Tensor] = []
    alpha: list[Tensor] = []
    depth: list[Tensor] = []
    for start in range(0, len(frames), AT_ONCE):
        picture = draw(gaussians, network, footage.batch(frames[start : start + AT_ONCE]), settings)
        for source, kept in ((picture.rgb, rgb), (picture.alpha, alpha)):
            part = source[:, y : y + side, x : x + side].clamp(0, 1)
            kept.append((part * 255).round().byte().cpu())
        far = mean_depth(picture.depth, picture.alpha)[:, y : y + side, x : x + side]
        depth.append(far.half().cpu())
    avatar.network.cpu()
    numbers = torch.tensor(list(frames))
    poses = footage.head_poses[numbers.to(device)].float().cpu()
    return Renders(numbers, torch.cat(rgb), torch.cat(alpha), torch.cat(depth), poses)
