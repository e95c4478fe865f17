"""The perceptual term: distance of VGG-16 features. Its weights are the user's, none ship."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from being.errors import FormatError

# (layer number in torchvision's `features`, channels in, channels out); "pool" halves the picture.
_LAYERS: tuple[tuple[int, int, int] | str, ...] = (
    (0, 3, 64), (2, 64, 64), "pool", (5, 64, 128), (7, 128, 128), "pool",
    (10, 128, 256), (12, 256, 256), (14, 256, 256),
)  # fmt: skip
_TAPS = (2, 7, 14)  # compared after these layers' ReLU
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as VGG expects


class Perceptual(nn.Module):
    """Mean absolute difference of VGG-16 features at three depths.

    Parameters
    ----------
    path : file (or a folder holding one) with `features.N.weight` and `.bias` of torchvision's VGG-16, .safetensors
    or .pt.

    Raises
    ------
    FormatError when the file cannot be read or a layer is missing or of another shape.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        state = _read(path)
        self.layers = nn.ModuleDict()
        for layer in _LAYERS:
            if isinstance(layer, str):
                continue
            number, inside, outside = layer
            conv = nn.Conv2d(inside, outside, 3, padding=1)
            for name, target in (("weight", conv.weight), ("bias", conv.bias)):
                value = state.get(f"features.{number}.{name}")
                if value is None or target is None or value.shape != target.shape:
                    raise FormatError(f"{path}: features.{number}.{name} is missing or has another shape than VGG-16's")
                target.data.copy_(value)
            self.layers[str(number)] = conv
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(3, 1, 1))
        self.requires_grad_(False)

    def forward(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """Pictures (B, H, W, 3) in [0, 1] -> scalar, differentiable in `predicted`."""
        total = predicted.new_zeros(())
        for a, b in zip(self.features(predicted), self._wanted(truth), strict=True):
            total = total + (a - b).abs().mean()
        return total

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Pictures (B, H, W, 3) in [0, 1] -> features (B, C, h, w) at three depths."""
        x = (pictures.permute(0, 3, 1, 2) - self.mean) / self.deviation
        found = []
        for layer in _LAYERS:
            if isinstance(layer, str):
                x = F.max_pool2d(x, 2)
                continue
            x = F.relu(self.layers[str(layer[0])](x))
            if layer[0] in _TAPS:
                found.append(x)
        return found

    def normalized_distance(self, pictures: Tensor, truth: Tensor) -> Tensor:
        """LPIPS without its learned weights (Zhang et al. 2018): features scaled to length 1 at every place, their
        squared difference there, means over places, summed over depths; (B, H, W, 3) twice -> (B,)."""
        total = pictures.new_zeros(len(pictures))
        for a, b in zip(self.features(pictures), self._wanted(truth), strict=True):
            a, b = (F.normalize(part.float(), dim=1, eps=1e-6) for part in (a, b))
            total = total + (a - b).square().sum(1).mean((1, 2))
        return total

    @torch.no_grad()
    def _wanted(self, truth: Tensor) -> list[Tensor]:
        """Features of the film: nobody asks for their gradients."""
        return self.features(truth)


def _read(path: Path) -> dict[str, Tensor]:
    if path.is_dir():
        found = [p for p in sorted(path.iterdir()) if p.suffix in (".safetensors", ".pt", ".pth")]
        if not found:
            raise FormatError(f"{path} holds no .safetensors or .pt file", "Give VGG-16 weights or leave --vgg out")
        path = found[0]
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise FormatError(f"{path} is not a weights file ({type(error).__name__})", "Leave --vgg out") from error
    if not isinstance(state, dict):
        raise FormatError(f"{path} holds a {type(state).__name__}, expected a dictionary of tensors")
    return state
