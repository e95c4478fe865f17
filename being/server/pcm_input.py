"""PCM from a client, in any chunks, at any rate, to what a session takes: 16 kHz for the model, 48 kHz for playback."""

from __future__ import annotations

from collections import deque
from math import gcd, lcm

import numpy as np
import numpy.typing as npt

from being.audio.resample import StreamResampler
from being.constants import SOUND_RATE
from being.live.session import OUTPUT_RATIO
from being.server.pcm_state import PcmState

FloatArray = npt.NDArray[np.float32]

MODEL_RATE = SOUND_RATE // OUTPUT_RATIO
SAMPLE = np.float32(1 / 32768)  # the least step of 16 bits; full scale is 1
NOTHING = np.zeros(0, np.float32)
REACH = 512  # input samples that a resampler may still read: at 48 to 16 kHz its filter has 154 taps


class PcmInput:
    """Signed 16-bit little-endian mono PCM at `rate` Hz.

    Samples may be split anywhere, even between their two bytes. Both forms describe the same instants: what one
    resampler has ready before the other waits.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        # Of this many input samples the resamplers make whole numbers of output samples, so they can start there.
        self._period = lcm(*(rate // gcd(rate, to) for to in (MODEL_RATE, SOUND_RATE)))
        self._restart()

    def _restart(self) -> None:
        self._odd = b""
        self._to_model = StreamResampler(self.rate, MODEL_RATE)
        self._to_playback = StreamResampler(self.rate, SOUND_RATE)
        self._model_pcm = self._playback_pcm = NOTHING
        self._received = 0  # samples
        self._recent: deque[FloatArray] = deque()  # the last of them, enough for `state`
        self._recent_samples = 0
        self._model_made = self._playback_made = 0

    def push(self, data: bytes) -> tuple[FloatArray, FloatArray]:
        """Bytes as they arrive -> (n,) at 16 kHz and (3 n, 1) at 48 kHz, n may be 0."""
        if self._odd:
            data = self._odd + data
        samples = len(data) // 2
        self._odd = data[2 * samples :]
        pcm = np.multiply(np.frombuffer(data, "<i2", samples), SAMPLE, dtype=np.float32)
        self._remember(pcm)
        return self._resampled(pcm)

    def state(self) -> PcmState:
        """What `restored` takes."""
        recent_from = max(0, self._received - REACH) // self._period * self._period
        return PcmState(
            self.rate,
            recent_from,
            np.concatenate([NOTHING, *self._recent])[recent_from - self._received + self._recent_samples :],
            self._model_made,
            self._playback_made,
            self._model_pcm,
            self._playback_pcm,
            self._odd[0] if self._odd else -1,
        )

    @classmethod
    def restored(cls, state: PcmState) -> PcmInput:
        """It gives the samples that the one `state` was taken of would have given, bit for bit."""
        restored = cls(state.rate)
        restored._received = state.recent_from
        restored._remember(state.recent)
        before = [state.recent_from * to // state.rate for to in (MODEL_RATE, SOUND_RATE)]
        for resampler, known, made in (
            (restored._to_model, before[0], state.model_made),
            (restored._to_playback, before[1], state.playback_made),
        ):
            if len(resampler.push(state.recent)) != made - known:
                raise ValueError("the sound remembered does not fit what was made of it")
        restored._model_made, restored._playback_made = state.model_made, state.playback_made
        restored._model_pcm, restored._playback_pcm = state.model_held, state.playback_held
        restored._odd = bytes([state.odd]) if state.odd >= 0 else b""
        return restored

    def _remember(self, pcm: FloatArray) -> None:
        if not len(pcm):
            return
        self._received += len(pcm)
        enough = REACH + self._period
        self._recent.append(pcm[-enough:].copy() if len(pcm) > enough else pcm)
        self._recent_samples += len(self._recent[-1])
        while self._recent_samples - len(self._recent[0]) >= enough:
            self._recent_samples -= len(self._recent.popleft())

    def _resampled(self, pcm: FloatArray) -> tuple[FloatArray, FloatArray]:
        model_pcm, playback_pcm = self._to_model.push(pcm), self._to_playback.push(pcm)
        self._model_made += len(model_pcm)
        self._playback_made += len(playback_pcm)
        return self._paired(model_pcm, playback_pcm)

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
        if len(self._model_pcm):
            model_pcm = np.concatenate([self._model_pcm, model_pcm])
        if len(self._playback_pcm):
            playback_pcm = np.concatenate([self._playback_pcm, playback_pcm])
        ready = min(len(model_pcm), len(playback_pcm) // OUTPUT_RATIO)
        self._model_pcm, self._playback_pcm = model_pcm[ready:], playback_pcm[ready * OUTPUT_RATIO :]
        return model_pcm[:ready], playback_pcm[: ready * OUTPUT_RATIO, None]
