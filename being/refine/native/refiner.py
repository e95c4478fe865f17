"""The `native` refiner: each avatar's own network over the crops of its frames."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from being.avatar.library import Library, LibraryEntry
from being.errors import InputError
from being.inference.compositing import fit_intrinsics
from being.inference.frames import Extras
from being.refine.contract import Conditions, CropRows
from being.refine.crops import sent
from being.refine.native.network import RefineConfig
from being.refine.native.references import View
from being.refine.native.runner import Packed, Runner
from being.refine.native.weights import FILE, load_refiner

SIZES = (128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768)  # sides of crops, pixels


class NativeOptions(BaseModel):
    """`options` of `RefinerSettings`.

    precision : auto is float16 on a GPU, float32 on a CPU. cuda_graphs : replay the network's kernels as one on a GPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    cuda_graphs: bool = True


class NativeRefiner:
    """See `being.refine.contract`. An avatar without a refiner passes as it is."""

    needs = Extras.DEPTH
    sizes: tuple[int, ...] = SIZES
    fade = 1.0

    def __init__(self, library: Library, device: torch.device, options: NativeOptions = NativeOptions()) -> None:  # noqa: B008 - immutable
        self._library, self._device = library, device
        precision = options.precision
        if precision == "auto":
            precision = "float16" if device.type == "cuda" else "float32"
        self._precision: torch.dtype = getattr(torch, precision)
        self._graphs = options.cuda_graphs and device.type == "cuda"
        self._runners: dict[RefineConfig, Runner] = {}
        self._loaded: dict[str, tuple[LibraryEntry, tuple[Runner, Packed, float] | None]] = {}

    def prepare(self, avatar: str) -> None:
        """Load the avatar's refiner if it has one; FormatError where it is damaged."""
        entry = self._library.get(avatar)
        known = self._loaded.get(avatar)
        if known is not None and known[0] is entry:
            return
        if FILE not in entry.manifest.files:
            self._loaded[avatar] = entry, None
            return
        trained = load_refiner(entry.folder / FILE)
        config = trained.facts.network
        runner = self._runners.get(config)
        if runner is None:
            runner = Runner(config, self._device, self._precision, self._graphs)
            self._runners[config] = runner
        for side in trained.facts.sides:
            runner.warm_up(side)
        self._loaded[avatar] = entry, (runner, runner.packed(trained.state), trained.facts.strength)

    def forget(self, avatar: str) -> None:
        """Let go of its weights; what is compiled for networks of their sizes stays."""
        self._loaded.pop(avatar, None)

    def knows(self, avatar: str) -> bool:
        """Whether the avatar has been prepared and has a refiner."""
        known = self._loaded.get(avatar)
        return known is not None and known[1] is not None

    def refine(self, crops: Tensor, conditions: Conditions, rows: CropRows) -> Tensor:
        """All crops of one avatar at once."""
        people = list(dict.fromkeys(rows.avatars))
        if len(people) == 1:
            return self._refined(people[0], crops, conditions, rows)
        out = crops.clone()
        for avatar in people:
            own = [row for row, name in enumerate(rows.avatars) if name == avatar]
            at = sent(np.array(own), crops.device)
            depth = None if conditions.depth is None else conditions.depth[at]
            out[at] = self._refined(avatar, crops[at], Conditions(conditions.alpha[at], depth), rows.take(own))
        return out

    def _refined(self, avatar: str, crops: Tensor, conditions: Conditions, rows: CropRows) -> Tensor:
        """Crops of one avatar."""
        entry, known = self._loaded[avatar]
        assert known is not None
        runner, packed, strength = known
        view = None
        if runner.config.references:
            manifest = entry.manifest
            recorded = manifest.width, manifest.height
            view = view_of(rows, conditions, fit_intrinsics(manifest.intrinsics, recorded, *rows.frame_size))
        return torch.add(crops, runner.run(packed, crops, conditions.alpha, view), alpha=strength)


def view_of(rows: CropRows, conditions: Conditions, intrinsics: tuple[float, float, float, float]) -> View:
    """Where crops lie in space. intrinsics : fx, fy, cx, cy of the whole frames."""
    depth = conditions.depth
    assert depth is not None
    fx, fy, cx, cy = intrinsics
    x0, y0, x1, _ = rows.windows.T
    scale = depth.shape[-1] / (x1 - x0)
    cameras = np.stack([fx * scale, fy * scale, (cx - x0) * scale, (cy - y0) * scale], 1).astype(np.float32)
    return View(depth, *(sent(part.astype(np.float32), depth.device) for part in (cameras, rows.head_poses)))


def load(options: dict[str, Any], library: Library, device: torch.device) -> NativeRefiner:
    """The backend `native`; InputError for options it does not know."""
    try:
        chosen = NativeOptions.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        known = ", ".join(NativeOptions.model_fields)
        raise InputError(f"refiner options: {field}: {first['msg']}", f"Options of native: {known}") from None
    return NativeRefiner(library, device, chosen)
