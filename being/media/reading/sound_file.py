"""The second of two passes over a sound: given out, block by block, as people hear it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from being.media.reading.downmix import Levels, mix
from being.media.reading.file_resampler import FileResampler
from being.media.reading.notes import Note
from being.media.reading.several_files import FilePlace
from being.media.reading.sound_decoding import SoundDecoder, planes_of
from being.media.reading.sound_scan import TrackScan

MODEL_RATE = 16_000  # Hz of what the model hears
PLAYBACK_RATE = 48_000  # Hz of the sound in a finished video
_PLAYBACK_RATIO = PLAYBACK_RATE // MODEL_RATE
REMEDY = "Give a sound or video file that plays in a media player"
_SILENCE_S = 1.0  # of a hole made at once
_GATHERED = 8192  # samples decoded before they are converted: fewer calls

Array = NDArray[np.float32]
Form = tuple[int, Callable[[Array], Array]]  # a rate, and what is made of a block (n, sides)


@dataclass(frozen=True)
class Sound:
    """A sound in both forms, of the same length.

    Attributes
    ----------
    model_pcm : (S,) float32 in [-1, 1], 16 kHz mono: what the face is moved by.
    playback_pcm : (S', 1 or 2) float32 in [-1, 1], 48 kHz: for playback.
    notes : what was repaired and chosen.
    """

    model_pcm: Array
    playback_pcm: Array
    notes: tuple[Note, ...] = ()

    @property
    def seconds(self) -> float:
        return len(self.model_pcm) / MODEL_RATE


@dataclass(frozen=True)
class SoundPart:
    """A scanned track of one of the files in a source.

    Attributes
    ----------
    stream : index in its container. zero_s : time on its file's clock of the first sample given.
    most_s : no more than this is given.
    """

    place: FilePlace
    stream: int
    scan: TrackScan
    zero_s: float
    most_s: float = float("inf")

    @property
    def seconds(self) -> float:
        return min(max(self.scan.ends_s - self.zero_s, 0.0), self.most_s)

    def blocks(self, name: str, sides: int) -> Iterator[tuple[int, Array]]:
        """Blocks (n, sides) at the rate of the file, without a seam, and that rate."""
        scan, left_s = self.scan, self.most_s
        shifts = {shift.frame: shift.seconds for shift in scan.shifts}
        ahead_s = self.zero_s - scan.begins_s  # to be dropped; below 0 silence is to be made
        with self.place.opened(REMEDY) as container:
            decoder = SoundDecoder(name, container, container.streams[self.stream])
            for index, (_, frame) in enumerate(decoder.frames()):
                rate = frame.sample_rate
                ahead_s -= shifts.get(index, 0.0)
                while ahead_s <= -0.5 / rate and left_s > 0:
                    silent = max(1, round(min(-ahead_s, _SILENCE_S, left_s) * rate))
                    yield rate, np.zeros((silent, sides), np.float32)
                    ahead_s, left_s = ahead_s + silent / rate, left_s - silent / rate
                dropped = min(max(round(ahead_s * rate), 0), frame.samples)
                ahead_s -= dropped / rate
                kept = int(min(frame.samples - dropped, np.ceil(left_s * rate - 1e-6)))
                if kept > 0:
                    names = tuple(channel.name for channel in frame.layout.channels)
                    yield rate, mix(planes_of(frame), names, sides)[dropped : dropped + kept]
                    left_s -= kept / rate
                if left_s <= 0:
                    return


@dataclass(frozen=True)
class SoundFile:
    """A source that was listened to once, ready to be read as often as wanted.

    Attributes
    ----------
    seconds : how long it sounds, holes and all. sides : 1 mono, 2 stereo.
    levels : as mixed. gain : what it is scaled by. notes : what will be repaired, what was chosen.
    """

    name: str
    parts: tuple[SoundPart, ...]
    sides: int
    levels: Levels
    gain: float = 1.0
    notes: tuple[Note, ...] = field(default=())

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    def model_blocks(self) -> Iterator[Array]:
        """16 kHz mono float32 in [-1, 1], (n,) at a time."""
        return (block[:, 0] for (block,) in self._converted([self._model_form()]))

    def playback_blocks(self) -> Iterator[Array]:
        """48 kHz float32 in [-1, 1], (n, sides) at a time."""
        return (block for (block,) in self._converted([(PLAYBACK_RATE, _as_it_is)]))

    def paired_blocks(self) -> Iterator[tuple[Array, Array]]:
        """Both forms decoded once, together: (n,) at 16 kHz and the same (3 n, sides) at 48 kHz."""
        model, playback = np.zeros((0, 1), np.float32), np.zeros((0, self.sides), np.float32)
        for heard, played in self._converted([self._model_form(), (PLAYBACK_RATE, _as_it_is)]):
            model, playback = np.concatenate([model, heard]), np.concatenate([playback, played])
            ready = min(len(model), len(playback) // _PLAYBACK_RATIO)
            if ready:
                yield model[:ready, 0], playback[: ready * _PLAYBACK_RATIO]
                model, playback = model[ready:], playback[ready * _PLAYBACK_RATIO :]
        if len(model):  # the two may end a sample apart
            missing = len(model) * _PLAYBACK_RATIO - len(playback)
            yield model[:, 0], np.pad(playback, ((0, missing), (0, 0)))

    def model_pcm(self) -> Array:
        """All of it, (S,), 16 kHz mono."""
        whole = _Growing(self.seconds * MODEL_RATE, 1)
        for block in self.model_blocks():
            whole.add(block[:, None])
        return whole.array()[:, 0]

    def playback_pcm(self) -> Array:
        """All of it, (S, sides), 48 kHz."""
        whole = _Growing(self.seconds * PLAYBACK_RATE, self.sides)
        for block in self.playback_blocks():
            whole.add(block)
        return whole.array()

    def read(self) -> Sound:
        """Both forms, whole, decoded once."""
        model = _Growing(self.seconds * MODEL_RATE, 1)
        playback = _Growing(self.seconds * PLAYBACK_RATE, self.sides)
        for heard, played in self._converted([self._model_form(), (PLAYBACK_RATE, _as_it_is)]):
            model.add(heard)
            playback.add(played)
        return Sound(model.array()[:, 0], playback.array(), self.notes)

    def _model_form(self) -> Form:
        if self.sides == 1:
            return MODEL_RATE, _as_it_is
        left, right = self.levels.model_weights()
        return MODEL_RATE, lambda block: (left * block[:, :1] + right * block[:, 1:]).astype(np.float32)

    def _converted(self, forms: Sequence[Form]) -> Iterator[list[Array]]:
        """Blocks of each form. A change of rate midway ends one run and begins another at the same instant."""
        channels = [make(np.zeros((0, self.sides), np.float32)).shape[1] for _, make in forms]
        written = [0] * len(forms)
        run: list[FileResampler] = []
        rate, samples, begun_s = 0, 0, 0.0  # of the present run
        for block_rate, block in self._gathered():
            if block_rate != rate:
                if rate:
                    begun_s += samples / rate
                    yield _ended(run, forms, written, begun_s)
                rate, samples = block_rate, 0
                run = [FileResampler(rate, out, n) for (out, _), n in zip(forms, channels, strict=True)]
            samples += len(block)
            made = [c.push(make(block)) for c, (_, make) in zip(run, forms, strict=True)]
            for index, part in enumerate(made):
                written[index] += len(part)
            yield [np.clip(part, -1.0, 1.0) for part in made]
        if rate:
            yield _ended(run, forms, written, begun_s + samples / rate)

    def _gathered(self) -> Iterator[tuple[int, Array]]:
        """The parts' blocks one after the other, larger and scaled."""
        kept: list[Array] = []
        rate, count = 0, 0
        for part in self.parts:
            for block_rate, block in part.blocks(self.name, self.sides):
                if count and (block_rate != rate or count >= _GATHERED):
                    yield rate, self._scaled(np.concatenate(kept))
                    kept, count = [], 0
                rate, count = block_rate, count + len(block)
                kept.append(block)
        if count:
            yield rate, self._scaled(np.concatenate(kept))

    def _scaled(self, block: Array) -> Array:
        return block if self.gain == 1.0 else block * np.float32(self.gain)


class _Growing:
    """Blocks (n, channels) laid one behind the other in an array of about the right length."""

    def __init__(self, expected: float, channels: int) -> None:
        self._data = np.empty((int(np.ceil(expected)) + 64, channels), np.float32)
        self._length = 0

    def add(self, block: Array) -> None:
        end = self._length + len(block)
        if end > len(self._data):
            spare = np.empty((end // 4 + len(block), block.shape[1]), np.float32)
            self._data = np.concatenate([self._data[: self._length], spare])
        self._data[self._length : end] = block
        self._length = end

    def array(self) -> Array:
        return self._data[: self._length]


def _as_it_is(block: Array) -> Array:
    return block


def _ended(run: Sequence[FileResampler], forms: Sequence[Form], written: list[int], ends_s: float) -> list[Array]:
    """The rest of a run, cut or padded to end at `ends_s`; `written` is brought up to date."""
    rest = []
    for index, (converter, (rate, _)) in enumerate(zip(run, forms, strict=True)):
        last = converter.flush()
        missing = int(np.ceil(ends_s * rate - 1e-6)) - written[index] - len(last)
        last = np.pad(last, ((0, missing), (0, 0))) if missing > 0 else last[: len(last) + missing]
        written[index] += len(last)
        rest.append(np.clip(last, -1.0, 1.0))
    return rest
