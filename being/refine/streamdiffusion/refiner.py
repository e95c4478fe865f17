"""The refiner: rows are grouped by network and timestep, batched, and refined a bucket at a time.

Rows of avatars with a LoRA of their own are batches of their own, whoever's they are: each row's factors are taken from
a bank inside the graph. The others run as if there were no LoRAs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from being.avatar.library import Library
from being.errors import InputError
from being.inference.frames import Extras
from being.refine.contract import Conditions, CropRows
from being.refine.streamdiffusion.avatar_lora import base_of
from being.refine.streamdiffusion.avatar_loras import RESIDENT, AvatarLoras, LoadedLora
from being.refine.streamdiffusion.buckets import batches_of, groups_of
from being.refine.streamdiffusion.faces import FacePlanes
from being.refine.streamdiffusion.graphs import Graphs
from being.refine.streamdiffusion.loading import Weights
from being.refine.streamdiffusion.lora import with_lora
from being.refine.streamdiffusion.lora_layout import LoraLayout
from being.refine.streamdiffusion.network import Network
from being.refine.streamdiffusion.noise import TEXTURES, NoiseTextures
from being.refine.streamdiffusion.package_step import installed, require_installed
from being.refine.streamdiffusion.schedule import timestep_of
from being.refine.streamdiffusion.settings import Lora, StreamDiffusionSettings
from being.refine.streamdiffusion.told import COLUMNS, DISTANCE, LORA, MAP, SHARE, columns_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kind:
    """Rows that may be refined together.

    owner : avatar of a network of its own, None for everybody's. timestep : where StreamDiffusion's step takes one for
    all, else -1. adapted : each row by its avatar's LoRA.
    """

    owner: str | None
    timestep: int
    adapted: bool


class StreamDiffusionRefiner:
    """See `being.refine.contract.Refiner`.

    On a GPU every bucket (network, size, batch) is recorded when the refiner is made, which takes seconds each; no
    frame waits for that later. Those for LoRAs of avatars are recorded where the library has any; else when the first
    one is prepared, for which frames wait once.

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
        self._loras: AvatarLoras | None = None
        self._adapts = False  # whether the buckets for LoRAs are recorded
        if settings.avatar_loras and weights.fingerprints:
            layout = LoraLayout(self._networks[None].denoiser, settings.lora_rank)
            count = max(RESIDENT, *settings.batches)
            dtype = weights.prompt.dtype
            self._loras = AvatarLoras(library, layout, base_of(weights, settings), self._device, dtype, count)
        self._record([_Kind(owner, timestep, False) for owner in self._networks for timestep in self._steps()])
        if self._loras is not None and self._loras.any_in_library():
            self._adapt()

    def network(self, avatar: str | None = None) -> Network:
        """The network of an avatar with a LoRA of its own; everybody's."""
        return self._networks.get(avatar, self._networks[None])

    def knows(self, avatar: str) -> bool:
        """A diffusion model takes any face."""
        return True

    def prepare(self, avatar: str) -> None:
        """Find out where the avatar's face lies, and load its LoRA. InputError or FormatError where one cannot be."""
        self._planes.load(avatar)
        if self._loras is not None and avatar not in self._networks and self._loras.load(avatar) is not None:
            with self._lock:
                self._adapt()

    def forget(self, avatar: str) -> None:
        """Forget both; networks are everybody's."""
        self._planes.forget(avatar)
        if self._loras is not None:
            self._loras.forget(avatar)

    def refine(self, crops: Tensor, conditions: Conditions, rows: CropRows) -> Tensor:
        """See the contract."""
        size = crops.shape[-1]
        timesteps = [timestep_of(float(strength), self._settings.timesteps) for strength in rows.strengths]
        loras = [self._lora(avatar) for avatar in rows.avatars]
        kinds = [
            _Kind(avatar if avatar in self._networks else None, step if self._package else -1, lora is not None)
            for avatar, step, lora in zip(rows.avatars, timesteps, loras, strict=True)
        ]
        with self._lock:
            parts: list[tuple[_Kind, int, list[int]]] = []
            for kind, group in groups_of(kinds):
                for count in batches_of(len(group), self._settings.batches):
                    parts.append((kind, count, group[:count]))
                    group = group[count:]
            answers = torch.empty_like(crops) if len(parts) > 1 else crops
            for kind, count, part in parts:
                own = [lora for row in part if (lora := loras[row]) is not None]
                told = self._told(rows.take(part), [timesteps[row] for row in part], own, size)
                chosen = [_rows(crops, part), told.to(self._device, non_blocking=True)]
                if conditions.depth is not None and Extras.DEPTH in self.needs:
                    chosen.append(_rows(conditions.depth, part))
                answer = self._run(kind, count, size, *chosen)
                if len(parts) == 1:
                    return answer
                for place, row in enumerate(part):
                    answers[row].copy_(answer[place])
        return answers

    def _lora(self, avatar: str) -> LoadedLora | None:
        """Of an avatar that has one and no network of its own."""
        return None if self._loras is None or avatar in self._networks else self._loras.of(avatar)

    def _run(self, kind: _Kind, count: int, size: int, *inputs: Tensor) -> Tensor:
        """Rows of one kind, as many as `inputs` have, in the graph for `count`."""
        network = self._networks[kind.owner]
        rows = count if self._device.type == "cuda" else len(inputs[0])
        step = network.direct if kind.timestep < 0 else network.through_package(kind.timestep, rows, size)

        def plain(crops: Tensor, told: Tensor, depth: Tensor | None = None) -> Tensor:
            return network.refine(step, crops, told, depth)

        def adapted(crops: Tensor, told: Tensor, depth: Tensor | None = None) -> Tensor:
            assert self._loras is not None
            changes = self._loras.changes(told[:, LORA].long())
            answer = network.refine(step, crops, told, depth, changes)
            return torch.lerp(crops, answer, told[:, SHARE, None, None, None])

        return self._graphs((kind, count, size), adapted if kind.adapted else plain, count, *inputs)

    def _told(self, rows: CropRows, timesteps: Sequence[int], loras: Sequence[LoadedLora], size: int) -> Tensor:
        """(N, 15) float32 in host memory, see `columns_of`. loras : of all rows, or of none."""
        told = torch.empty(len(rows), COLUMNS, pin_memory=self._device.type == "cuda")
        planes = [self._planes.of(avatar) for avatar in rows.avatars]
        slots = self._textures.slots(rows.seeds.tolist())
        places = [self._settings.timesteps.index(timestep) for timestep in timesteps]
        numbers = told.numpy()
        numbers[:] = columns_of(rows, planes, slots, places, size)
        if loras and self._loras is not None:
            numbers[:, LORA] = self._loras.slots(loras)
            numbers[:, SHARE] = [lora.strength for lora in loras]
        return told

    def _steps(self) -> Sequence[int]:
        return self._settings.timesteps if self._package else (-1,)

    def _adapt(self) -> None:
        """Record the buckets for LoRAs of avatars, once."""
        if not self._adapts:
            self._record([_Kind(None, timestep, True) for timestep in self._steps()])
            self._adapts = True

    @torch.inference_mode()
    def _record(self, kinds: Sequence[_Kind]) -> None:
        """Record the graphs of all buckets, the largest first, whose memory the others use."""
        if self._device.type != "cuda":
            return
        start = time.perf_counter()
        told = torch.zeros(1, COLUMNS)
        told[:, MAP] = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 1, 0.125])
        told[:, DISTANCE] = 8.0
        for kind in kinds:
            for size in reversed(self.sizes):
                inputs = [torch.zeros(1, 3, size, size, device=self._device), told.to(self._device)]
                if Extras.DEPTH in self.needs:
                    inputs.append(torch.zeros(1, 1, size, size, device=self._device))
                for count in reversed(self._settings.batches):
                    self._run(kind, count, size, *inputs)
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
