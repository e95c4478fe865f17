"""PCM from a client, in any chunks, at any rate, to what a session takes: 16 kHz for the model, 48 kHz for playback."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from being.constants import SOUND_RATE
from being.live.session import OUTPUT_RATIO
from being.media.stream_resampler import StreamResampler

FloatArray = npt.NDArray[np.float32]

MODEL_RATE = SOUND_RATE // OUTPUT_RATIO
FULL_SCALE = 32768.0


class PcmInput:
    """Signed 16-bit little-endian mono PCM at `rate` Hz.

    Samples may be split anywhere, even between their two bytes. Both forms describe the same instants: what one
    resampler has ready before the other waits.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._restart()

    def _restart(self) -> None:
        self._odd = b""
        self._to_model = StreamResampler(self.rate, MODEL_RATE)
        self._to_playback = StreamResampler(self.rate, SOUND_RATE)
        self._model_pcm = np.zeros(0, np.float32)
        self._playback_pcm = np.zeros(0, np.float32)

    def push(self, data: bytes) -> tuple[FloatArray, FloatArray]:
        """Bytes as they arrive -> (n,) at 16 kHz and (3 n, 1) at 48 kHz, n may be 0."""
        data = self._odd + data
        whole = len(data) // 2 * 2
        self._odd = data[whole:]
        pcm = np.frombuffer(data[:whole], "<i2").astype(np.float32) / FULL_SCALE
        return self._paired(self._to_model.push(pcm), self._to_playback.push(pcm))

    def flush(self) -> tuple[FloatArray, FloatArray]:
        """The rest of an utterance; the next one starts anew."""
        model_pcm, playback_pcm = self._to_model.flush(), self._to_playback.flush()
        length = max(
            len(self._model_pcm) + len(model_pcm), -(-(len(self._playback_pcm) + len(playback_pcm)) // OUTPUT_RATIO)
        )
        model_pcm = np.pad(model_pcm, (0, length - len(self._model_pcm) - len(model_pcm)))
        playback_pcm = np.pad(playback_pcm, (0, length * OUTPUT_RATIO - len(self._playback_pcm) - len(playback_pcm)))
        rest = self._paired(model_pcm, playback_pcm)
        self._restart()
        return rest

    def drop(self) -> None:
        """Forget what is held back: the client was interrupted."""
        self._restart()

    def _paired(self, model_pcm: FloatArray, playback_pcm: FloatArray) -> tuple[FloatArray, FloatArray]:
        model_pcm, playback_pcm = (
            np.concatenate([self._model_pcm, model_pcm]),
            np.concatenate([self._playback_pcm, playback_pcm]),
        )
        ready = min(len(model_pcm), len(playback_pcm) // OUTPUT_RATIO)
        self._model_pcm, self._playback_pcm = model_pcm[ready:], playback_pcm[ready * OUTPUT_RATIO :]
        return model_pcm[:ready], playback_pcm[: ready * OUTPUT_RATIO, None]
