"""What camera and tracker got slightly wrong in each frame, learned beside the person.

A phone changes its exposure while somebody talks, and a tracker that looks at a few face landmarks is off by a pixel.
Left alone, both are paid for with blur: the Gaussians average over frames that do not agree, and the network learns the
tracker's mistakes by heart. So every training frame has a gain for each colour channel, and every frame a small turn
and shift of head and torso. All of them are pulled towards nothing, and their means over the training frames are kept
at nothing: gains and poses of a new performance mean the same as those of the footage.

Single frames tell a turn of the shoulders hardly at all, so their corrections are noise in part: in the end all are
smoothed over time (`being.training.model.pose_smoothing`).

Held-out frames teach the person nothing; but their poses come from the same tracker, so they are looked up in their
pictures too, mouth left out, against the person as known so far (`Trainer.follow`). In the end the corrected poses
take the place of the tracked ones: in the evaluation, and in the motion that the avatar plays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from being.training.config import CorrectionConfig
from being.training.model.parameters import adam, adam_state, load_adam_state

NAMES = ("exposure", "head", "torso")


class FrameCorrections(nn.Module):
    """Corrections of T frames.

    exposure (T, 3): logarithm of a gain on the person's colours, nothing outside `train`. head, torso (T, 6):
    rotation vector (radians) and shift (dm) applied about the head space's origin, before the tracked pose.
    """

    def __init__(
        self,
        frames: int,
        train: Sequence[int],
        config: CorrectionConfig,
        device: torch.device | str,
        batch: int | None = None,
    ) -> None:
        """batch : how many of the training frames a step looks at; None: all of them."""
        super().__init__()
        self.config = config
        self.exposure = nn.Parameter(torch.zeros(frames, 3, device=device), requires_grad=config.exposure > 0)
        self.head = nn.Parameter(torch.zeros(frames, 6, device=device), requires_grad=config.pose > 0)
        self.torso = nn.Parameter(torch.zeros(frames, 6, device=device), requires_grad=config.pose > 0)
        self._train = torch.tensor(list(train), device=device)
        rates = {"exposure": config.exposure, "head": config.pose, "torso": config.pose}
        # A frame is looked at in few steps. Adam divides by the root of the mean square of the last thousand or so, so
        # it would go as many times too far each time as is the root of how seldom that is.
        seldom = math.sqrt(min(1.0, (batch or len(train)) / max(len(train), 1)))
        self.rates = {name: rate * seldom for name, rate in rates.items() if rate > 0}
        self.optimizer = adam(
            [{"params": [getattr(self, name)], "lr": rate, "name": name} for name, rate in self.rates.items()]
            or [nn.Parameter(torch.zeros(1, device=device))],
            device,
        )

    @property
    def poses(self) -> list[nn.Parameter]:
        """What turns and shifts the frames: head and torso."""
        return [self.head, self.torso]

    def posed(self, frames: Tensor, head: Tensor, torso: Tensor) -> tuple[Tensor, Tensor]:
        """Head and torso poses (B, 3, 4) of the frames (B,), corrected."""
        if "head" not in self.rates:
            return head, torso
        frames = frames.to(self.head.device)
        corrections = [part.index_select(0, frames) for part in self.poses]
        both = compose(torch.cat([head, torso]), torch.cat(corrections))  # at once: half as many launches
        return both[: len(head)], both[len(head) :]

    def gains(self, frames: Tensor) -> Tensor:
        """(B, 3) factors on the person's colours."""
        return self.exposure.index_select(0, frames).exp()

    def cost(self) -> Tensor:
        """How far the corrections are from nothing, in units of what is ordinary; a scalar."""
        ordinary = self.config
        return (
            (self.exposure / ordinary.ordinary_exposure).square().mean()
            + (self.head / ordinary.ordinary_pose).square().mean()
            + (self.torso / ordinary.ordinary_pose).square().mean()
        )

    def step(self, factor: float | Tensor) -> None:
        """One Adam step at `factor` times the rates; then the means over the training frames are taken out again."""
        if not self.rates:
            return
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates[group["name"]] * factor
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name in self.rates:
                value = getattr(self, name)
                mean = value[self._train].mean(0)
                if name == "exposure":
                    value[self._train] -= mean
                else:  # a turn of everybody: frames that are held out take part
                    value -= mean

    def extent(self) -> dict[str, float]:
        """Typical sizes over the training frames: exposure as a share, turn in degrees, shift in dm."""
        with torch.no_grad():
            head = self.head[self._train]
            return {
                "exposure": float(self.exposure[self._train].std()) if len(self._train) > 1 else 0.0,
                "turn_degrees": float(head[:, :3].norm(dim=1).mean().rad2deg()),
                "shift_dm": float(head[:, 3:].norm(dim=1).mean()),
            }

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on, as flat tensors."""
        out: dict[str, Tensor] = {}
        for name in NAMES:
            parameter = getattr(self, name)
            out[f"value.{name}"] = parameter.detach()
            out.update(adam_state(self.optimizer, parameter, name))
        return out

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state`."""
        for name in NAMES:
            parameter = getattr(self, name)
            parameter.copy_(state[f"value.{name}"])
            load_adam_state(self.optimizer, parameter, name, state)


def compose(pose: Tensor, correction: Tensor) -> Tensor:
    """Poses (B, 3, 4) applied after corrections (B, 6): x -> R (exp(w) x + s) + t."""
    turn = rotation_of(correction[:, :3])
    rotation, shift = pose[:, :, :3], pose[:, :, 3]
    moved = (rotation @ correction[:, 3:, None])[..., 0] + shift
    return torch.cat([rotation @ turn, moved[..., None]], dim=2)


def rotation_of(vector: Tensor) -> Tensor:
    """Rotation vectors (B, 3) -> matrices (B, 3, 3) (Rodrigues), with a gradient at zero."""
    square = (vector * vector).sum(-1)[..., None, None]
    small = square < 1e-6
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    first = torch.where(small, 1 - square / 6, angle.sin() / angle)
    second = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / safe)
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.eye(3, device=vector.device) + first * cross + second * (cross @ cross)
