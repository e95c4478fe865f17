"""The canonical Gaussians: the person at rest, as plain tensors before activation."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from being.errors import FormatError

SH_COEFFICIENTS = 16  # spherical harmonics up to degree 3
SH_DC = 1 / (2 * math.sqrt(math.pi))  # Y_00: colour = 0.5 + SH_DC * sh[0] + ...


@dataclass
class Gaussians:
    """N Gaussians in head space (unit 10 cm, y up, z toward the viewer), stored as 3DGS stores them.

    Attributes
    ----------
    xyz : (N, 3) centres.
    log_scales : (N, 3) natural log of the standard deviation along each own axis.
    quats : (N, 4) own axes as quaternion w x y z, any non-zero norm.
    opacity_logits : (N,) opacity before the sigmoid.
    sh : (N, 16, 3) colour, one row a spherical-harmonic coefficient, linear in RGB.
    head_weight : (N,) in [0, 1]: 1 moves with the head, 0 with the torso, between bends.
    audio_gate : (N,) in [0, 1]: how much sound may move this Gaussian.

    Raises
    ------
    FormatError
        A tensor whose shape does not fit (checked on construction; values only in `validate`, which
        has to wait for the device).
    """

    xyz: Tensor
    log_scales: Tensor
    quats: Tensor
    opacity_logits: Tensor
    sh: Tensor
    head_weight: Tensor
    audio_gate: Tensor

    def __post_init__(self) -> None:
        count = self.xyz.shape[0] if self.xyz.ndim else 0
        expected = {
            "xyz": (count, 3),
            "log_scales": (count, 3),
            "quats": (count, 4),
            "opacity_logits": (count,),
            "sh": (count, SH_COEFFICIENTS, 3),
            "head_weight": (count,),
            "audio_gate": (count,),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise FormatError(f"Gaussians: {name} has shape {found}, expected {shape}")

    @property
    def count(self) -> int:
        """Number of Gaussians N."""
        return int(self.xyz.shape[0])

    def tensors(self) -> dict[str, Tensor]:
        """The seven tensors by name, in the order of the class."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to(self, device: torch.device | str) -> Gaussians:
        """The same Gaussians on `device`."""
        return Gaussians(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def select(self, index: Tensor) -> Gaussians:
        """The Gaussians chosen by `index`, (M,) integers or an (N,) mask."""
        return Gaussians(**{name: tensor[index] for name, tensor in self.tensors().items()})

    def validate(self) -> Gaussians:
        """Check the values; returns self.

        Raises
        ------
        FormatError
            No Gaussians, a value that is not finite, a zero quaternion, a scale that overflows float32 or
            a weight outside [0, 1]; the field and the first offending row are named.
        """
        if self.count == 0:
            raise FormatError("Gaussians: there are none")
        for name, tensor in self.tensors().items():
            if tensor.dtype != torch.float32:
                raise FormatError(f"Gaussians: {name} is {tensor.dtype}, expected torch.float32")
            _refuse(name, "is not finite", ~torch.isfinite(tensor))
        _refuse("quats", "has norm zero", self.quats.norm(dim=-1) < 1e-12)
        _refuse("log_scales", "is beyond any real size (|log| > 40)", self.log_scales.abs() > 40)
        for name in ("head_weight", "audio_gate"):
            weight = getattr(self, name)
            _refuse(name, "lies outside [0, 1]", (weight < 0) | (weight > 1))
        return self


def _refuse(name: str, problem: str, bad: Tensor) -> None:
    if bool(bad.any()):
        row = int(bad.reshape(bad.shape[0], -1).any(dim=1).nonzero()[0])
        raise FormatError(f"Gaussians: {name} of row {row} {problem}")
