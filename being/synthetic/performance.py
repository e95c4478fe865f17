"""A performance: what is said and everything the face does, frame by frame, before anything is drawn.

A performance is a file of its own (`save`, `load`), so that speech can be made where espeak-ng is and frames where the
processors are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from being.audio.espeak import PhoneEvent
from being.audio.visemes import SILENCE, VISEMES, VOWELS
from being.errors import FormatError, InputError
from being.synthetic import rig
from being.synthetic.frame import SyntheticFrame, render_frame
from being.synthetic.looks import FIRST, Look, look_named
from being.synthetic.motion import FPS, motion
from being.synthetic.mouth import CONTROLS, closure_of, mouth_curves
from being.synthetic.script import ENGLISH, sentences_in
from being.synthetic.voice import SAMPLE_RATE, default_voices, speak

SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
REST_SMILE = 0.26


@dataclass(frozen=True)
class Performance:
    """T frames at 25 a second. Times are seconds; a frame shows its middle, (i + 0.5) / 25.

    Fields: one for each array of the file it is saved as.
    """

    pcm: NDArray[np.float32]  # (T * 640,) 16 kHz
    controls: NDArray[np.float32]  # (T, 9), columns as mouth.CONTROLS
    viseme_weights: NDArray[np.float32]  # (T, 15), columns as visemes.VISEMES
    blink: NDArray[np.float32]  # (T,)
    gaze: NDArray[np.float32]  # (T, 2)
    brow: NDArray[np.float32]  # (T,)
    head: NDArray[np.float32]  # (T, 3, 4)
    torso: NDArray[np.float32]  # (T, 3, 4)
    talking: NDArray[np.bool_]  # (T,)
    event_times: NDArray[np.float64]  # (E, 2)
    event_visemes: NDArray[np.int64]  # (E,) index into VISEMES
    event_stress: NDArray[np.bool_]  # (E,)
    event_phones: NDArray[np.str_]  # (E,) IPA
    spans: NDArray[np.float64]  # (U, 2) start and end of each utterance
    span_voices: NDArray[np.str_]  # (U,)
    texts: NDArray[np.str_]  # (U,)
    seed: NDArray[np.int64]  # ()
    look: NDArray[np.str_] = field(default_factory=lambda: np.array(FIRST))  # (); older files have none

    @property
    def frames(self) -> int:
        return len(self.blink)

    @property
    def person(self) -> Look:
        """Whose face it is."""
        return look_named(str(self.look))

    def state(self, index: int) -> rig.FaceState:
        """The face at a frame."""
        mouth = {name: float(v) for name, v in zip(CONTROLS, self.controls[index], strict=True)}
        brow, blink = float(self.brow[index]), float(self.blink[index])
        return rig.FaceState(
            **mouth,
            smile=REST_SMILE,
            brow_left=brow,
            brow_right=brow,
            blink_left=blink,
            blink_right=blink,
            gaze_x=float(self.gaze[index, 0]),
            gaze_y=float(self.gaze[index, 1]),
            head=self.head[index].astype(np.float64),
            torso=self.torso[index].astype(np.float64),
            lights=np.eye(3),
            look=self.person,
        )

    def closures(self) -> list[tuple[float, float]]:
        """When the lips are fully together in every p, b, m: start and end, seconds."""
        marks = zip(self.event_times, self.event_visemes, self.event_phones, self.event_stress, strict=True)
        events = [PhoneEvent(a, b, str(ipa), VISEMES[v], bool(s)) for (a, b), v, ipa, s in marks]
        return [closure_of(event) for event in events if event.viseme == "PP"]

    def save(self, path: Path) -> None:
        """Write as .npz."""
        np.savez_compressed(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Performance:
        """Read what `save` wrote. Raises FormatError when the file is something else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                names = [f.name for f in fields(cls) if f.name in file or f.default_factory is MISSING]
                return cls(**{name: file[name] for name in names})
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise FormatError(f"{path} is no saved performance ({error})", "Make it with the plan command") from error


def render(performance: Performance, index: int, width: int = 512, height: int = 512) -> SyntheticFrame:
    """Draw one frame of a performance."""
    return render_frame(performance.state(index), width, height)


@dataclass(frozen=True)
class _Utterance:
    start_s: float
    pcm: NDArray[np.float32]
    events: list[PhoneEvent]
    voice: str
    text: str


def _perform(utterances: Sequence[_Utterance], frames: int, seed: int, look: str = FIRST) -> Performance:
    samples = frames * SAMPLES_PER_FRAME
    pcm = np.zeros(samples, np.float32)
    events: list[PhoneEvent] = []
    for u in utterances:
        low = round(u.start_s * SAMPLE_RATE)
        part = u.pcm[: max(0, samples - low)]
        pcm[low : low + len(part)] += part
        for e in u.events:
            if e.viseme != SILENCE and u.start_s + e.start_s < samples / SAMPLE_RATE:
                events.append(PhoneEvent(u.start_s + e.start_s, u.start_s + e.end_s, e.ipa, e.viseme, e.stressed))
    times = (np.arange(frames) + 0.5) / FPS
    controls, weights = mouth_curves(events, pcm, times)
    talking = np.zeros(frames, np.bool_)
    for u in utterances:
        talking |= (times > u.start_s - 0.2) & (times < u.start_s + len(u.pcm) / SAMPLE_RATE + 0.2)
    rng = np.random.default_rng([seed, 7])
    kernel = np.hanning(2 * FPS + 1)[1:-1]
    liveliness = np.convolve(np.pad(talking.astype(float), FPS - 1, mode="edge"), kernel / kernel.sum(), "valid")
    stress = [e.start_s for e in events if e.stressed and e.viseme in VOWELS]
    moves = motion(rng, frames, stress, liveliness)
    return Performance(
        pcm=pcm,
        controls=controls.astype(np.float32),
        viseme_weights=weights.astype(np.float32),
        blink=moves.blink.astype(np.float32),
        gaze=moves.gaze.astype(np.float32),
        brow=moves.brow.astype(np.float32),
        head=moves.head.astype(np.float32),
        torso=moves.torso.astype(np.float32),
        talking=talking,
        event_times=np.array([(e.start_s, e.end_s) for e in events]).reshape(-1, 2),
        event_visemes=np.array([VISEMES.index(e.viseme) for e in events], np.int64),
        event_stress=np.array([e.stressed for e in events], np.bool_),
        event_phones=np.array([e.ipa for e in events], np.str_),
        spans=np.array([(u.start_s, u.start_s + len(u.pcm) / SAMPLE_RATE) for u in utterances]).reshape(-1, 2),
        span_voices=np.array([u.voice for u in utterances], np.str_),
        texts=np.array([u.text for u in utterances], np.str_),
        seed=np.array(seed, np.int64),
        look=np.array(look),
    )


def perform(
    text: str, voice: str | None = None, seed: int = 0, lead_s: float = 0.4, tail_s: float = 0.6
) -> Performance:
    """One text spoken by one voice, with some silence around it."""
    voice = voice or default_voices()[0]
    speech = speak(text, voice, seed=seed)
    frames = int(np.ceil((lead_s + len(speech.pcm) / SAMPLE_RATE + tail_s) * FPS))
    return _perform([_Utterance(lead_s, speech.pcm, speech.events, voice, text)], frames, seed)


def listen(seconds: float, seed: int = 0, look: str = FIRST) -> Performance:
    """Nobody speaks: the mouth is shut, the eyes blink, the head moves a little."""
    look_named(look)
    return _perform([], _frames(seconds), seed, look)


def plan(
    seconds: float,
    seed: int = 0,
    voices: Sequence[str] | None = None,
    sentences: Sequence[str] | None = None,
    idle_share: float = 0.12,
    language: str = ENGLISH,
    look: str = FIRST,
) -> Performance:
    """A clip of sentences in a shuffled order, a voice each in turn, with pauses; a few are long enough to listen in.

    Parameters
    ----------
    seconds : length of the clip. voices : names as `voice.speak` takes them; default the language's on this machine.
    sentences : what is said; default the language's. idle_share : part of the clip in long silences.
    language : one of `script.SENTENCES`. look : one of `looks.LOOKS`.
    """
    frames = _frames(seconds)
    look_named(look)
    sentences = sentences or sentences_in(language)
    voices = tuple(voices or default_voices(language))
    rng = np.random.default_rng([seed, 3])
    utterances: list[_Utterance] = []
    order: list[int] = []
    at, idle = float(rng.uniform(0.5, 0.9)), 0.0
    while at < seconds - 0.4:
        if not order:
            order = rng.permutation(len(sentences)).tolist()
        text, voice = sentences[order.pop()], voices[len(utterances) % len(voices)]
        rate, pitch = int(rng.uniform(145, 185)), int(rng.uniform(38, 62))
        speech = speak(text, voice, rate_wpm=rate, pitch=pitch, seed=int(rng.integers(1 << 30)))
        utterances.append(_Utterance(at, speech.pcm, speech.events, voice, text))
        at += len(speech.pcm) / SAMPLE_RATE + float(rng.uniform(0.3, 0.8))
        if idle < idle_share * at and at > 8.0:
            rest = float(rng.uniform(1.5, 3.5))
            idle, at = idle + rest, at + rest
    return _perform(utterances, frames, seed, look)


def _frames(seconds: float) -> int:
    if not 0.04 <= seconds <= 3600.0:
        raise InputError(f"seconds is {seconds}", "Give a length between 0.04 and 3600 seconds")
    return round(seconds * FPS)
