"""Any audio file -> samples in one form: what `sound_reader` reads, for callers that want only one."""

from __future__ import annotations

from dataclasses import dataclass

from being.audio.features import Array
from being.media.reading.input_container import Source
from being.media.reading.sound_file import MODEL_RATE, PLAYBACK_RATE
from being.media.reading.sound_reader import LIMIT_S, open_sound


@dataclass(frozen=True)
class Pcm:
    """samples (S,) float32 in [-1, 1], mono; (S, channels) where read_audio_48k kept several."""

    samples: Array
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


def read_audio(source: Source, limit_s: float = LIMIT_S) -> Pcm:
    """The sound of any audio or video file as 16 kHz mono. Raises as `open_sound`."""
    return Pcm(open_sound(source, limit_s=limit_s).model_pcm(), MODEL_RATE)


def read_audio_48k(source: Source, limit_s: float = LIMIT_S) -> Pcm:
    """The sound of a file as 48 kHz, (S, 1) or (S, 2): for the sound track. Raises as `open_sound`."""
    return Pcm(open_sound(source, limit_s=limit_s).playback_pcm(), PLAYBACK_RATE)
