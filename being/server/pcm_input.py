"""PCM from a client, in any chunks and at any rate, to what a session takes: 16 kHz for the face, 48 for ears."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from being.audio.resample import StreamResampler
from being.constants import SOUND_RATE
from being.live.session import OUTPUT_RATIO

FloatArray = npt.NDArray[np.float32]

FACE_RATE = SOUND_RATE // OUTPUT_RATIO
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
        self._to_face = StreamResampler(self.rate, FACE_RATE)
        self._to_ears = StreamResampler(self.rate, SOUND_RATE)
        self._face = np.zeros(0, np.float32)
        self._ears = np.zeros(0, np.float32)

    def push(self, data: bytes) -> tuple[FloatArray, FloatArray]:
        """Bytes as they arrive -> (n,) at 16 kHz and (3 n, 1) at 48 kHz, n may be 0."""
        data = self._odd + data
        whole = len(data) // 2 * 2
        self._odd = data[whole:]
        pcm = np.frombuffer(data[:whole], "<i2").astype(np.float32) / FULL_SCALE
        return self._paired(self._to_face.push(pcm), self._to_ears.push(pcm))

    def flush(self) -> tuple[FloatArray, FloatArray]:
        """The rest of an utterance; the next one starts anew."""
        face, ears = self._to_face.flush(), self._to_ears.flush()
        length = max(len(self._face) + len(face), -(-(len(self._ears) + len(ears)) // OUTPUT_RATIO))
        face = np.pad(face, (0, length - len(self._face) - len(face)))
        ears = np.pad(ears, (0, length * OUTPUT_RATIO - len(self._ears) - len(ears)))
        rest = self._paired(face, ears)
        self._restart()
        return rest

    def drop(self) -> None:
        """Forget what is held back: the client was interrupted."""
        self._restart()

    def _paired(self, face: FloatArray, ears: FloatArray) -> tuple[FloatArray, FloatArray]:
        face, ears = np.concatenate([self._face, face]), np.concatenate([self._ears, ears])
        ready = min(len(face), len(ears) // OUTPUT_RATIO)
        self._face, self._ears = face[ready:], ears[ready * OUTPUT_RATIO :]
        return face[:ready], ears[: ready * OUTPUT_RATIO, None]
