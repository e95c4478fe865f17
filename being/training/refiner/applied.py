"""A network that is being judged, applied to whole pictures exactly as it is live."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from being.inference.frame_batch import FrameBatch
from being.inference.frames import Extras, PixelFormat
from being.inference.rendered import FrameInfo
from being.refine.contract import Conditions, CropRows, Refiner
from being.refine.native.network import RefineConfig, RefineNetwork
from being.refine.native.refiner import SIZES, view_of
from being.refine.stage import RefineStage
from being.training.refiner.pairs import Pairs

AT_ONCE = 8  # pictures


class NetworkInMemory:
    """A refiner of one network, for everybody; see `being.refine.contract`."""

    needs = Extras.DEPTH
    sizes: tuple[int, ...] = SIZES
    fade = 1.0

    def __init__(
        self,
        config: RefineConfig,
        state: Mapping[str, Tensor],
        device: torch.device,
        camera: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0),
    ) -> None:
        """camera : fx, fy, cx, cy of the pictures, where the network has references."""
        self._camera = camera
        self._network = RefineNetwork(config)
        self._network.load_state_dict(dict(state))
        self._network.to(device).eval().requires_grad_(False)

    def prepare(self, avatar: str) -> None:
        """Nothing to load."""

    def forget(self, avatar: str) -> None:
        """Nothing to let go of."""

    def knows(self, avatar: str) -> bool:
        """Everybody."""
        return True

    def refine(self, crops: Tensor, conditions: Conditions, rows: CropRows) -> Tensor:
        """In single precision."""
        entering = [crops, conditions.alpha]
        if self._network.references is not None:
            entering.append(self._network.references(crops, view_of(rows, conditions, self._camera)))
        changed: Tensor = crops + self._network(torch.cat(entering, 1))
        return changed


@torch.inference_mode()
def refined_pictures(pairs: Pairs, refiner: Refiner, strength: float) -> Tensor:
    """The renders (N, S, S, 3) uint8, refined."""
    stage = RefineStage(refiner)
    parts = []
    for start in range(0, len(pairs), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        pixels, boxes = pairs.renders[rows], pairs.boxes[rows].numpy().astype(np.float32)
        count = len(pixels)
        info = FrameInfo(
            ("judged",) * count,
            ("",) * count,
            np.zeros(count, np.int64),
            pairs.frames[rows].numpy(),
            pairs.head_poses[rows].numpy(),
            boxes,
            np.full(count, strength, np.float32),
        )
        nothing = torch.zeros(count, dtype=torch.int32, device=pixels.device)
        clear = np.zeros(count, bool)
        depth = pairs.depth[rows].float()
        batch = FrameBatch(info, pixels, pairs.alpha[rows], PixelFormat.RGB, pixels[:0], nothing, clear, depth)
        parts.append(stage(batch).pixels)
    return torch.cat(parts)
