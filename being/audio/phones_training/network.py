"""The network of being.audio.phones in PyTorch, for training: batch normalisation added, folded away on export."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from being.atomic import whole_file
from being.audio.logmel import DECADES, FFT, FLOOR, WINDOW, mel_filters, window
from being.audio.phones import BANDS, BLOCKS, CHANNELS, HOP, STEM, WIDTH, Conv, load_weights


class MelFrames(nn.Module):
    """The twin of being.audio.logmel.mel_frames: pcm (B, S) -> (B, BANDS, n)."""

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.from_numpy(window().copy()))
        self.register_buffer("filters", torch.from_numpy(mel_filters(BANDS).copy()))

    def forward(self, pcm: Tensor) -> Tensor:
        frames = pcm.unfold(1, WINDOW, HOP) * self.window
        spectrum = torch.fft.rfft(frames, FFT)
        energy = (spectrum.real**2 + spectrum.imag**2) @ self.filters
        return ((energy.clamp_min(FLOOR) / FLOOR).log10() / DECADES).transpose(1, 2)


class _Layer(nn.Module):
    def __init__(self, conv: Conv, residual: bool) -> None:
        super().__init__()
        self.spec, self.residual = conv, residual
        self.conv = nn.Conv1d(
            conv.inputs, conv.outputs, conv.kernel, stride=conv.stride, dilation=conv.dilation, bias=False
        )
        self.norm = nn.BatchNorm1d(conv.outputs)
        self.mix = nn.Conv1d(conv.outputs, conv.outputs, 1) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.conv(x)))
        if self.mix is None:
            return y
        return x[:, :, self.spec.left : self.spec.left + y.shape[2]] + self.mix(y)

    @torch.no_grad()
    def export(self) -> dict[str, Tensor]:
        norm = self.norm
        assert norm.running_var is not None and norm.running_mean is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        tensors = {
            "weight": (self.conv.weight * scale[:, None, None]).permute(2, 1, 0),
            "bias": norm.bias - norm.running_mean * scale,
        }
        if self.mix is not None:
            assert self.mix.bias is not None
            tensors |= {"mix.weight": self.mix.weight[:, :, 0].T, "mix.bias": self.mix.bias}
        return tensors

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of export(): the normalisation becomes the bias alone."""
        norm = self.norm
        assert norm.running_var is not None and norm.running_mean is not None
        self.conv.weight.copy_(tensors["weight"].permute(2, 1, 0))
        norm.weight.fill_(1.0)
        norm.bias.copy_(tensors["bias"])
        norm.running_mean.fill_(0.0)
        norm.running_var.fill_(1.0 - norm.eps)
        if self.mix is not None:
            assert self.mix.bias is not None
            self.mix.weight.copy_(tensors["mix.weight"].T[:, :, None])
            self.mix.bias.copy_(tensors["mix.bias"])


class PhonesNetwork(nn.Module):
    """mel (B, BANDS, n) -> logits (B, m, WIDTH) of the steps for which all context is there (no padding)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [_Layer(conv, residual=False) for conv in STEM] + [_Layer(conv, residual=True) for conv in BLOCKS]
        )
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Conv1d(CHANNELS, WIDTH, 1)

    def forward(self, mel: Tensor) -> Tensor:
        x = mel
        for layer in self.layers:
            x = layer(x)
        return self.head(self.dropout(x)).transpose(1, 2)

    @torch.no_grad()
    def load(self, path: Path) -> None:
        """Start from the weights of an earlier training, in which the normalisation is folded: keep it in eval mode."""
        tensors = {name: torch.from_numpy(array) for name, array in load_weights(path).items()}
        for layer in self.layers:
            assert isinstance(layer, _Layer)
            own = f"{layer.spec.name}."
            layer.load({name.removeprefix(own): t for name, t in tensors.items() if name.startswith(own)})
        assert self.head.bias is not None
        self.head.weight.copy_(tensors["head.weight"].T[:, :, None])
        self.head.bias.copy_(tensors["head.bias"])

    def save(self, path: Path) -> None:
        """Write the weights that being.audio.phones reads, as float16."""
        from safetensors.torch import save_file

        tensors: dict[str, Tensor] = {}
        for layer in self.layers:
            assert isinstance(layer, _Layer)
            tensors |= {f"{layer.spec.name}.{name}": tensor for name, tensor in layer.export().items()}
        assert self.head.bias is not None
        tensors |= {"head.weight": self.head.weight.detach()[:, :, 0].T, "head.bias": self.head.bias.detach()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            save_file({name: t.to("cpu", torch.float16).contiguous() for name, t in tensors.items()}, partial)
