"""The film is taught sharper than it is, so that faces are drawn as sharp as it is.

What is drawn is a mean over all that sound, poses and the film's own grain leave open. It has less fine structure than
what it is the mean of: that share of the amplitude which can be predicted, and no loss over pixels finds fault with it.
Filters commute with means: taught a film whose fine structure is amplified by one over that share, a person is drawn
with the amplified mean, as strong as the film. Nothing is invented and nothing moves, as the filter's phase is zero.
That costs a pixel loss far less than structure that is put anywhere (`detail`), as what is amplified lies where it lay.

How much is missing is looked at a few times while training, on drawn training frames: the gain of each frequency grows
by what is missing still.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from being.refine.native.gain import added, kernel_of
from being.training.loss.losses import cut, laid_over
from being.training.loss.radial_spectrum import luma, rings_of, smoothed

RINGS = 32  # frequencies
SIDE = 11  # pixels, of the filter
LOOKS = (0.15, 0.3, 0.45, 0.6, 0.75)  # shares of the network stage after which is looked
SHORT = 0.1  # decades of power (1 dB) that may go on missing: what is amplified costs by the square, so the last most
STEP = 0.7  # of what is missing, each time: what was asked for last may be on its way still
LEAST_SIDE = 32  # pixels; the spectrum of a smaller face has no fine rings


class TargetSharpening:
    """How much stronger each frequency is taught than filmed: `gains` (RINGS,) of amplitudes from 0 to Nyquist.

    most : the largest gain; 1 for none at all, `taught` is the film then. looks : how often it was looked.
    """

    def __init__(self, most: float, device: torch.device) -> None:
        self.most, self.looks = most, 0
        self.gains = torch.ones(RINGS, device=device)
        self._kernel = torch.zeros(SIDE, SIDE, device=device)  # stays in its place: captured steps read it

    def due(self, fraction: float) -> bool:
        """Whether it is time to look, a share `fraction` into the network stage."""
        return self.most > 1 and sum(share <= fraction for share in LOOKS) > self.looks

    def taught(self, truth: Tensor, alpha: Tensor, corners: Tensor, side: int) -> Tensor:
        """What drawn pictures are held against: films (B, H, W, 3) in [0, 1], sharper in a window around each face.

        alpha (B, H, W) : how much of a pixel is the person; outlines stay as they are. corners (B, 2) x y, side : of
        the windows.
        """
        if self.most <= 1:
            return truth
        window = cut(truth, corners, side).permute(0, 3, 1, 2)
        person = cut(alpha[..., None], corners, side).permute(0, 3, 1, 2)
        inner = -F.max_pool2d(-person, SIDE, stride=1, padding=SIDE // 2)  # nothing else under the whole filter
        sharper = (window + inner * added(window, self._kernel)).clamp(0, 1).permute(0, 2, 3, 1)
        return laid_over(truth, sharper, corners)

    def look(self, drawn: Tensor, filmed: Tensor, boxes: list[tuple[int, int, int, int]]) -> None:
        """Grow by what drawn faces lack of the filmed ones: (K, H, W, 3) in [0, 1] each, K boxes around the faces."""
        self.looks += 1
        missing = [
            rings_of(luma(255 * film[y0:y1, x0:x1]), RINGS) - rings_of(luma(255 * face[y0:y1, x0:x1]), RINGS) - SHORT
            for face, film, (x0, y0, x1, y1) in zip(drawn, filmed, boxes, strict=True)
            if min(x1 - x0, y1 - y0) >= LEAST_SIDE
        ]
        if missing:
            amplitude = 10 ** (0.5 * STEP * smoothed(torch.stack(missing).mean(0)))
            self.set((self.gains * amplitude).clamp(1, self.most), self.looks)

    def set(self, gains: Tensor, looks: int) -> None:
        """Take these gains (RINGS,)."""
        self.gains.copy_(gains)
        self._kernel.copy_(kernel_of(self.gains.cpu(), SIDE))
        self.looks = looks
