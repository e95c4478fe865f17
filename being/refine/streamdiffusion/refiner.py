"""The refiner: rows are grouped by network and timestep, batched, and refined a bucket at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from being.avatar.library import Library
from being.errors import InputError
from being.inference.frames import Extras
from being.refine.contract import Conditions, CropRows
from being.refine.streamdiffusion.buckets import batches_of, groups_of
from being.refine.streamdiffusion.faces import FacePlanes
from being.refine.streamdiffusion.graphs import Graphs
from being.refine.streamdiffusion.loading import Weights
from being.refine.streamdiffusion.lora import with_lora
from being.refine.streamdiffusion.network import COLUMNS, DISTANCE, MAP, PLACE, SLOT, Network
from being.refine.streamdiffusion.noise import TEXTURES, NoiseTextures, deviations, texels_of_crops
from being.refine.streamdiffusion.package_step import installed, require_installed
from being.refine.streamdiffusion.schedule import timestep_of
from being.refine.streamdiffusion.settings import Lora, StreamDiffusionSettings

log = logging.getLogger(__name__)


class StreamDiffusionRefiner:
    """See `being.refine.contract.Refiner`.

    On a GPU every bucket (network, size, batch) is recorded when the refiner is made, which takes seconds each; no
    frame waits for that later.

    Raises
    ------
    InputError, FormatError
        A LoRA that is missing or does not fit.
    MissingDependencyError
        `through: package` without the package.
    """

    def __init__(self, weights: Weights, settings: StreamDiffusionSettings, library: Library) -> None:
        self.needs = Extras.DEPTH if weights.controlnet is not None else Extras.NONE
        self.sizes = settings.sizes
        self.fade = 1 / len(settings.timesteps)
        self._settings = settings
        self._device = weights.prompt.device
        self._planes = FacePlanes(library)
        self._textures = NoiseTextures(self._device, max(TEXTURES, *settings.batches))
        self._graphs = Graphs(self._device)
        self._lock = threading.Lock()
        unet = weights.unet
        for lora in settings.loras:
            unet = _changed(unet, lora)
        changed = {avatar: _changed(unet, lora) for avatar, lora in settings.identities.items()}
        self._networks: dict[str | None, Network] = {
            avatar: Network(weights, own, settings.timesteps, self._textures.bank, settings.control_scale)
            for avatar, own in [(None, unet), *changed.items()]
        }
        self._package = _takes_package(settings, self._networks[None].velocity)
        self._record()

    def network(self, avatar: str | None = None) -> Network:
        """The network of an avatar with a LoRA of its own; everybody's."""
        return self._networks.get(avatar, self._networks[None])

    def knows(self, avatar: str) -> bool:
        """A diffusion model takes any face."""
        return True

    def prepare(self, avatar: str) -> None:
        """Find out where the avatar's face lies. InputError or FormatError where it cannot be loaded."""
        self._planes.load(avatar)

    def forget(self, avatar: str) -> None:
        """Forget where it lies; networks are everybody's."""
        self._planes.forget(avatar)

    def refine(self, crops: Tensor, conditions: Conditions, rows: CropRows) -> Tensor:
        """See the contract."""
        size = crops.shape[-1]
        timesteps = [timestep_of(float(strength), self._settings.timesteps) for strength in rows.strengths]
        owners = [avatar if avatar in self._networks else None for avatar in rows.avatars]
        keys = [(owner, step if self._package else -1) for owner, step in zip(owners, timesteps, strict=True)]
        with self._lock:
            parts: list[tuple[str | None, int, int, list[int]]] = []
            for (owner, timestep), group in groups_of(keys):
                for count in batches_of(len(group), self._settings.batches):
                    parts.append((owner, timestep, count, group[:count]))
                    group = group[count:]
            answers = torch.empty_like(crops) if len(parts) > 1 else crops
            for owner, timestep, count, part in parts:
                told = self._told(rows, part, timesteps, size)
                chosen = [_rows(crops, part), told.to(self._device, non_blocking=True)]
                if conditions.depth is not None and Extras.DEPTH in self.needs:
                    chosen.append(_rows(conditions.depth, part))
                answer = self._run(owner, timestep, count, size, *chosen)
                if len(parts) == 1:
                    return answer
                for place, row in enumerate(part):
                    answers[row].copy_(answer[place])
        return answers

    def _run(self, owner: str | None, timestep: int, count: int, size: int, *inputs: Tensor) -> Tensor:
        """Rows of one network, as many as `inputs` have, in the graph for `count`."""
        network = self._networks[owner]
        rows = count if self._device.type == "cuda" else len(inputs[0])
        step = network.direct if timestep < 0 else network.through_package(timestep, rows, size)
        key = (owner, timestep, count, size)
        return self._graphs(key, lambda *given: network.refine(step, *given), count, *inputs)

    def _told(self, rows: CropRows, part: list[int], timesteps: Sequence[int], size: int) -> Tensor:
        """(N, 13) float32 in host memory, see `Network.refine`."""
        told = torch.empty(len(part), COLUMNS, pin_memory=self._device.type == "cuda")
        numbers = told.numpy()
        numbers[:, SLOT] = self._textures.slots([int(rows.seeds[row]) for row in part])
        planes = [self._planes.of(rows.avatars[row]) for row in part]
        poses = rows.head_poses[part]
        texels = texels_of_crops(planes, poses, rows.windows[part], rows.frame_size, size)
        numbers[:, MAP.start : MAP.stop - 1] = texels.reshape(len(part), -1)
        numbers[:, MAP.stop - 1] = deviations(texels, size)
        numbers[:, PLACE] = [self._settings.timesteps.index(timesteps[row]) for row in part]
        numbers[:, DISTANCE] = np.array([plane.z for plane in planes]) * poses[:, 2, 2] + poses[:, 2, 3]
        return told

    @torch.inference_mode()
    def _record(self) -> None:
        """Record the graphs of all buckets, the largest first, whose memory the others use."""
        if self._device.type != "cuda":
            return
        start = time.perf_counter()
        told = torch.zeros(1, COLUMNS)
        told[:, MAP] = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 1, 0.125])
        told[:, DISTANCE] = 8.0
        for owner in self._networks:
            for timestep in self._settings.timesteps if self._package else (-1,):
                for size in reversed(self.sizes):
                    inputs = [torch.zeros(1, 3, size, size, device=self._device), told.to(self._device)]
                    if Extras.DEPTH in self.needs:
                        inputs.append(torch.zeros(1, 1, size, size, device=self._device))
                    for count in reversed(self._settings.batches):
                        self._run(owner, timestep, count, size, *inputs)
        torch.cuda.synchronize(self._device)
        log.info("%d buckets recorded in %.1f s", len(self._graphs), time.perf_counter() - start)


def _takes_package(settings: StreamDiffusionSettings, velocity: bool) -> bool:
    """Whether steps go through StreamDiffusion, which knows no network that predicts velocity."""
    if settings.through == "package":
        require_installed()
        if velocity:
            raise InputError("the package has no step for a model that predicts velocity", "Set through: direct")
        return True
    return settings.through == "auto" and not velocity and installed()


def _changed(unet: object, lora: Lora) -> object:
    return with_lora(unet, Path(lora.file), lora.scale)


def _rows(values: Tensor, rows: Sequence[int]) -> Tensor:
    """These rows; a view where they follow each other."""
    if list(rows) == list(range(rows[0], rows[0] + len(rows))):
        return values[rows[0] : rows[0] + len(rows)]
    return torch.stack([values[row] for row in rows])
