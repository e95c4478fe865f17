"""`wav2vec2`: CTC logits of a wav2vec 2.0 model from transformers, in blocks, so that a stream equals the file.

The model attends to everything it is given, so what it is given must be fixed: steps are computed in blocks on an
absolute grid, each from its own samples, `left_s` before and `right_s` after. A stream and a file cut the same blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from being.audio.features import (
    STEP,
    STEPS_PER_SECOND,
    Array,
    FeatureExtractor,
    FeatureStream,
    SpanStream,
    padded_span,
    step_count,
)
from being.errors import InputError, MissingDependencyError

ESPERANTO = "cpierse/wav2vec2-large-xlsr-53-esperanto"  # 44 logits; what GaussianTalker and InsTaG listen to
_OVERHANG = 80  # samples: the model's last step reads 400 samples, 80 beyond its own 320


class Wav2Vec2(FeatureExtractor):
    """Extractor; see being.audio.features.FeatureExtractor for its methods."""

    name = "wav2vec2"

    def __init__(
        self,
        model: str = ESPERANTO,
        left_s: float = 2.0,
        block_s: float = 1.0,
        right_s: float = 0.4,
        device: str = "cpu",
    ) -> None:
        """
        Parameters
        ----------
        model : str
            A folder with a saved Wav2Vec2ForCTC, or its name on the Hugging Face hub.
        left_s, block_s, right_s : float
            Seconds before a block, of a block, and after a block that the model is given; whole steps of 20 ms.
            A live viewer waits for up to block_s + right_s.

        Raises
        ------
        MissingDependencyError
            transformers is not installed.
        InputError
            The model cannot be loaded, or does not answer at 50 Hz.
        """
        try:
            from transformers import Wav2Vec2ForCTC
        except ImportError as error:
            raise MissingDependencyError("transformers", "speech", "The wav2vec2 feature") from error
        try:
            self.model: Any = Wav2Vec2ForCTC.from_pretrained(model)
        except (OSError, ValueError) as error:
            first_line = str(error).splitlines()[0]
            raise InputError(
                f"wav2vec2 model {model!r} cannot be loaded ({first_line})",
                "Give a folder with a saved Wav2Vec2ForCTC, or a name on the Hugging Face hub",
            ) from error
        stride = int(np.prod(np.array(self.model.config.conv_stride)))
        if stride != STEP:
            raise InputError(f"wav2vec2 model {model!r} answers every {stride} samples, expected {STEP}")
        self.model.eval().to(device)
        self.device = device
        self.width: int = self.model.config.vocab_size or 0
        self._left, self._block, self._right = (round(s * STEPS_PER_SECOND) for s in (left_s, block_s, right_s))
        if self._block < 1 or self._left < 0 or self._right < 0:
            raise InputError(f"wav2vec2 blocking {left_s, block_s, right_s} s is not usable", "block_s >= 0.02")
        self.left_context = (self._left + self._block - 1) * STEP
        self.right_context = (self._right + self._block - 1) * STEP + _OVERHANG

    def __call__(self, pcm: Array, first: int = 0, count: int | None = None) -> Array:
        count = step_count(len(pcm)) - first if count is None else count
        if count <= 0:
            return np.zeros((0, self.width), np.float32)
        blocks = range(first // self._block, (first + count - 1) // self._block + 1)
        steps = np.concatenate([self._steps_of(pcm, block) for block in blocks])
        skip = first - blocks.start * self._block
        return steps[skip : skip + count]

    def _steps_of(self, pcm: Array, block: int) -> Array:
        """(block steps, width) logits of one block."""
        import torch

        start = (block * self._block - self._left) * STEP
        stop = ((block + 1) * self._block + self._right) * STEP + _OVERHANG
        span = padded_span(pcm, start, stop)
        # The published preprocessing: zero mean, unit variance of what the model is given.
        span = (span - span.mean()) / np.sqrt(span.var() + 1e-7)
        with torch.inference_mode():
            logits = self.model(torch.from_numpy(span)[None].to(self.device)).logits[0]
        return logits[self._left : self._left + self._block].float().cpu().numpy()

    def stream(self) -> FeatureStream:
        return SpanStream(self, align=self._block)
