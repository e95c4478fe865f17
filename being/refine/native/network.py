"""The network: a shallow U-Net of plain 3x3 convolutions that adds what the render lacks.

Half resolution by pixel-unshuffle, two levels below it, residual blocks whose activation follows the sum (He et al.
2016), so that on a GPU each convolution, its bias, sum and activation are one kernel. Where it has reference frames,
what they showed beyond their renders comes in beside the render, and a learned share of it is added as it is; with them
there need be no convolutions at all.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from being.refine.native.gain import added
from being.refine.native.references import CELLS, GUIDE, THUMB, References

CHANNELS = 4  # RGB and coverage
STRIDE = 8  # sides of crops are multiples of it


class RefineConfig(BaseModel):
    """Sizes of the network.

    width : channels at half resolution, twice and four times as many below; 0: references alone. depths : residual
    blocks at a half, a quarter and an eighth of the resolution; the first two twice, on the way down and on the way up.
    band : pixels, odd; the network only changes what is finer, coarser shapes and colours stay the render's; 0:
    everything may change. references : frames of the footage that it has, see `being.refine.native.references`; 0 for
    none. texels : side of their chart. gain : side of the kernel that makes detail as strong as the film's, see
    `being.refine.native.gain`; 0 for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=48, ge=0, le=256, multiple_of=8)
    depths: tuple[int, int, int] = (1, 2, 3)
    band: int = Field(default=9, ge=0, le=65)
    references: int = Field(default=0, ge=0, le=256)
    texels: int = Field(default=320, ge=CELLS * THUMB, le=1024, multiple_of=CELLS * THUMB)
    gain: int = Field(default=0, ge=0, le=31)

    @field_validator("gain")
    @classmethod
    def _centred(cls, side: int) -> int:
        if side and side % 2 == 0:
            raise ValueError("the side of a kernel is odd")
        return side

    @property
    def channels(self) -> int:
        """Of what comes in: RGB, coverage, and the guide where there are references."""
        return CHANNELS + (GUIDE if self.references else 0)


class Block(nn.Module):
    """relu(x + conv(relu(conv(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)  # a new block hands on what comes in

    def forward(self, x: Tensor) -> Tensor:
        return conv_relu(self.second, conv_relu(self.first, x), x)


class RefineNetwork(nn.Module):
    """Render -> what to add to it; before it is trained nothing but what its references showed."""

    gain: Tensor | None

    def __init__(self, config: RefineConfig) -> None:
        super().__init__()
        self.config = config
        self.references = References(config.references, config.texels) if config.references else None
        self.register_buffer("gain", torch.zeros(config.gain, config.gain) if config.gain else None)
        if not config.width:
            return
        a, b, c = config.width, 2 * config.width, 4 * config.width
        self.enter = nn.Conv2d(4 * config.channels, a, 3, padding=1)
        self.down = nn.ModuleList([_blocks(a, config.depths[0]), _blocks(b, config.depths[1])])
        self.shrink = nn.ModuleList([nn.Conv2d(a, b, 2, stride=2), nn.Conv2d(b, c, 2, stride=2)])
        self.middle = _blocks(c, config.depths[2])
        self.grow = nn.ModuleList([nn.Conv2d(b, 4 * a, 1), nn.Conv2d(c, 4 * b, 1)])
        self.up = nn.ModuleList([_blocks(a, config.depths[0]), _blocks(b, config.depths[1])])
        self.leave = nn.Conv2d(a, 16 if config.references else 12, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, S, S) RGB, coverage and guide -> (N, 3, S, S) change of RGB; S a multiple of STRIDE."""
        change = self._change(x)
        if self.gain is None:
            return change
        return change + x[:, 3:CHANNELS] * added(x[:, :3] + change, self.gain)

    def _change(self, x: Tensor) -> Tensor:
        shown = x[:, CHANNELS : CHANNELS + 3] if self.references is not None else None
        if not self.config.width:
            return torch.zeros_like(x[:, :3]) if shown is None else shown
        a = self.down[0](conv_relu(self.enter, F.pixel_unshuffle(x - 0.5, 2)))
        b = self.down[1](conv_relu(self.shrink[0], a))
        c = self.middle(conv_relu(self.shrink[1], b))
        b = self.up[1](F.relu(b + F.pixel_shuffle(self.grow[1](c), 2)))
        a = self.up[0](F.relu(a + F.pixel_shuffle(self.grow[0](b), 2)))
        change = F.pixel_shuffle(self.leave(a), 2)
        if shown is not None:
            change = change[:, :3] + change[:, 3:] * shown
        if self.config.band:
            change = change - box_blurred(change, self.config.band)
        return change if shown is None else change + shown


def box_blurred(x: Tensor, side: int) -> Tensor:
    """Means over `side` x `side` pixels, at the rim over those there are."""
    for kernel in ((side, 1), (1, side)):
        padding = kernel[0] // 2, kernel[1] // 2
        x = F.avg_pool2d(x, kernel, stride=1, padding=padding, count_include_pad=False)
    return x


def conv_relu(conv: nn.Module, x: Tensor, residual: Tensor | None = None) -> Tensor:
    """relu(conv(x) + residual); in half precision on a GPU, where nothing is to be learned, as one kernel of cuDNN."""
    assert isinstance(conv, nn.Conv2d) and not isinstance(conv.padding, str)
    if x.is_cuda and x.dtype is torch.float16 and not torch.is_grad_enabled():
        weight, bias, stride, padding = conv.weight, conv.bias, conv.stride, conv.padding
        if residual is None:
            return torch.cudnn_convolution_relu(x, weight, bias, stride, padding, conv.dilation, conv.groups)
        return torch.cudnn_convolution_add_relu(
            x, weight, residual, 1.0, bias, stride, padding, conv.dilation, conv.groups
        )
    y = conv(x)
    return F.relu(y if residual is None else y + residual)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(count)))


def flops(config: RefineConfig, side: int) -> float:
    """Multiplications and additions of one crop of `side` pixels, both counted."""
    network = RefineNetwork(config).to("meta")
    total = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        nonlocal total
        total += 2 * out.numel() * module.in_channels * module.kernel_size[0] * module.kernel_size[1]

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.empty(1, config.channels, side, side, device="meta"))
    return float(total)
