"""Speech with known phoneme timings, from libespeak-ng through ctypes: used where data is made.

The library keeps global state (one voice, one set of parameters), so it serves one utterance at a time: a lock guards
it within a process, and parallel work uses processes. It is GPL-3 and neither linked nor shipped: it is used where the
user installed it. Environment: ``BEING_ESPEAK_LIBRARY`` names the shared library, ``ESPEAK_DATA_PATH`` the folder that
holds ``espeak-ng-data``.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import threading
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from being.audio.resample import resample
from being.audio.visemes import SILENCE, VOWELS, split_diphthong, viseme_of_ipa
from being.constants import SAMPLE_RATE
from being.errors import InputError, MissingDependencyError

# Values of espeak-ng's speak_lib.h.
_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS = 0x0001
_INITIALIZE_PHONEME_IPA = 0x0002
_INITIALIZE_DONT_EXIT = 0x8000
_EVENT_LIST_TERMINATED, _EVENT_END, _EVENT_PHONEME = 0, 5, 7
_CHARS_UTF8, _PHONEMES = 1, 0x100
_PARAMETER_RATE, _PARAMETER_VOLUME, _PARAMETER_PITCH, _PARAMETER_RANGE, _PARAMETER_WORD_GAP = 1, 2, 3, 4, 7
_OK = 0

_STRESS_MARKS = "ˈˌ"
_NO_SOUND = "ːʰʲ\u0303" + _STRESS_MARKS
_STOPS = tuple("pbtdkɡgqɢcɟʈɖʔ")  # noqa: RUF001
_LONGEST_CLOSURE_S = 0.12
_SILENT_NAMES = {"", "_", "_:", "_!", "_|", "_;_"}


def _is_sound(name: str) -> bool:
    """False for what is announced like a phone but is none: a language switch "(en)", a bare length or palatal mark."""
    return name in _SILENT_NAMES or (not name.startswith("(") and any(c not in _NO_SOUND for c in name))


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),  # (priority byte, zero-terminated tag) pairs
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class VoiceInfo:
    """One voice of the installed espeak-ng. ``identifier`` is what synthesize() takes; "+variant" may be appended."""

    identifier: str  # "gmw/en-US", or "!v/f3" for a variant
    name: str
    language: str  # BCP 47 tag; "variant" for a variant


@dataclass(frozen=True)
class PhoneEvent:
    """One sounded phone or pause: seconds from the start of the utterance."""

    start_s: float
    end_s: float
    ipa: str  # "" in a pause
    viseme: str
    stressed: bool  # a vowel that stands out of its utterance by length and loudness; espeak's events do not say it


@dataclass(frozen=True)
class Speech:
    """pcm (S,) float32 in [-1, 1], 16 kHz mono, with events that follow each other without gaps from 0 to the end."""

    pcm: NDArray[np.float32]
    events: list[PhoneEvent]

    @property
    def seconds(self) -> float:
        return len(self.pcm) / SAMPLE_RATE


class _Library:
    """The loaded library: what C calls back into is collected in ``samples`` and ``marks``."""

    def __init__(self) -> None:
        path = os.environ.get("BEING_ESPEAK_LIBRARY") or ctypes.util.find_library("espeak-ng")
        if path is None:
            raise OSError("libespeak-ng was not found")
        self.c = ctypes.CDLL(path)
        self.c.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        self.c.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
            ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        data = os.environ.get("ESPEAK_DATA_PATH")
        options = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_PHONEME_IPA | _INITIALIZE_DONT_EXIT
        self.rate = self.c.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, data.encode() if data else None, options)
        if self.rate <= 0:
            raise OSError(f"libespeak-ng ({path}) did not find its data")
        self.lock = threading.Lock()
        self.samples: list[NDArray[np.int16]] = []
        self.marks: list[tuple[int, str]] = []
        self._callback = _Callback(self._receive)  # kept alive: C holds the pointer
        self.c.espeak_SetSynthCallback(self._callback)

    def _receive(self, wav, count, events) -> int:  # type: ignore[no-untyped-def]
        if wav and count > 0:
            self.samples.append(np.ctypeslib.as_array(wav, (count,)).copy())
        k = 0
        while events[k].type != _EVENT_LIST_TERMINATED:
            event = events[k]
            if event.type == _EVENT_PHONEME:
                name = event.id.string.decode("utf-8", "ignore")
                if _is_sound(name):
                    self.marks.append((event.sample, name))
            elif event.type == _EVENT_END:
                self.marks.append((event.sample, ""))
            k += 1
        return 0


_library: _Library | None = None
_library_lock = threading.Lock()


def _load() -> _Library:
    global _library
    with _library_lock:
        if _library is None:
            try:
                _library = _Library()
            except (OSError, AttributeError) as error:
                raise MissingEspeakError(str(error)) from error
        return _library


class MissingEspeakError(MissingDependencyError):
    """espeak-ng is not installed, or its data is not where it looks."""

    def __init__(self, problem: str) -> None:
        super().__init__("espeak-ng", "speech", "Making speech with known timings")
        self.problem = problem
        self.remedy = (
            "Install it (Debian, Ubuntu: apt install espeak-ng; macOS: brew install espeak-ng), or set "
            "BEING_ESPEAK_LIBRARY to the library and ESPEAK_DATA_PATH to the folder that holds espeak-ng-data"
        )
        self.args = (f"{self.problem}. {self.remedy}",)


def available() -> bool:
    """True where synthesize() works on this machine."""
    try:
        _load()
    except MissingEspeakError:
        return False
    return True


def voices() -> list[VoiceInfo]:
    """Every voice that needs no further package (the MBROLA voices are left out), without the variants."""
    return [v for v in _list(None) if not v.identifier.startswith("mb/")]


def variants() -> list[VoiceInfo]:
    """The voice variants: other speakers for any voice; synthesize(voice="gmw/en-US+f3")."""
    spec = _Voice(languages=ctypes.cast(ctypes.c_char_p(b"variant"), ctypes.c_void_p))
    return [v for v in _list(ctypes.byref(spec)) if v.identifier.startswith("!v/")]


def _list(spec: object) -> list[VoiceInfo]:
    library = _load()
    found: list[VoiceInfo] = []
    with library.lock:
        pointers = library.c.espeak_ListVoices(spec)
        k = 0
        while pointers[k]:
            voice = pointers[k].contents
            tag = ctypes.string_at(voice.languages + 1).decode() if voice.languages else ""  # +1: the priority byte
            identifier = voice.identifier.decode().replace(os.sep, "/")
            found.append(VoiceInfo(identifier, voice.name.decode(), tag))
            k += 1
    return found


def synthesize(
    text: str,
    voice: str = "gmw/en-US",
    *,
    rate_wpm: int = 175,
    pitch: int = 50,
    pitch_range: int = 50,
    volume: int = 100,
    word_gap: int = 0,
    lead_s: float = 0.0,
    tail_s: float = 0.0,
) -> Speech:
    """Speak ``text`` and say when each phone sounds.

    Parameters
    ----------
    text : str
        Text in the language of the voice; ``[[...]]`` holds espeak phoneme mnemonics.
    voice : str
        A voice's identifier or language tag, optionally with a variant: "gmw/en-US+f3", "en-us", "roa/fr+Alex".
    rate_wpm : int
        Words a minute, 80..450.
    pitch, pitch_range, volume : int
        0..100, 0..100 and 0..200.
    word_gap : int
        Extra pause between words, units of 10 ms.
    lead_s, tail_s : float
        Seconds of digital silence put before and after.

    Raises
    ------
    InputError
        The voice does not exist.
    MissingEspeakError
        espeak-ng is not installed.
    """
    library = _load()
    with library.lock:
        _set_voice(library, voice)
        for parameter, value in (
            (_PARAMETER_RATE, rate_wpm), (_PARAMETER_PITCH, pitch), (_PARAMETER_RANGE, pitch_range),
            (_PARAMETER_VOLUME, volume), (_PARAMETER_WORD_GAP, word_gap),
        ):  # fmt: skip
            library.c.espeak_SetParameter(parameter, int(value), 0)
        library.samples, library.marks = [], []
        encoded = text.encode("utf-8")
        status = library.c.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _CHARS_UTF8 | _PHONEMES, None, None)
        library.c.espeak_Synchronize()
        samples, marks = library.samples, library.marks
    if status != _OK:
        raise InputError(f"espeak-ng refused the text with voice {voice!r} (status {status})")
    raw = np.concatenate(samples).astype(np.float32) / 32768.0 if samples else np.zeros(0, np.float32)
    pcm = resample(raw, library.rate, SAMPLE_RATE)
    marks = _with_closures(marks, raw, library.rate)
    lead, tail = (np.zeros(round(s * SAMPLE_RATE), np.float32) for s in (lead_s, tail_s))
    pcm = np.concatenate([lead, pcm, tail])
    events = _events(marks, library.rate, len(lead) / SAMPLE_RATE, len(pcm) / SAMPLE_RATE)
    return Speech(pcm, _with_stress(events, pcm))


def _set_voice(library: _Library, voice: str) -> None:
    # The variant is resolved by file name: "gmw/en-US+f3" and "gmw/en-US+!v/f3" are the same.
    name = voice.replace("!v/", "")
    if library.c.espeak_SetVoiceByName(name.encode()) != _OK:
        raise InputError(
            f"espeak-ng has no voice {voice!r}", "List them: being.audio.espeak.voices(), or espeak-ng --voices"
        )


def _with_closures(marks: list[tuple[int, str]], raw: NDArray[np.float32], rate: int) -> list[tuple[int, str]]:
    """Move each stop's start back over its closure, which espeak reports as the tail of the phone before.

    The closure is found by ear: frames of 5 ms whose peak is under 6% of the previous phone's (some variants have an
    echo, so it is not zero). After a pause nothing moves: when the lips close there cannot be heard.
    """
    frame = rate // 200
    moved = list(marks)
    for k in range(1, len(marks)):
        start, name = marks[k]
        before, name_before = marks[k - 1]
        bare = name.strip(_STRESS_MARKS + " ")
        if bare[:1] not in _STOPS or name_before.strip(_STRESS_MARKS + " ") in _SILENT_NAMES:
            continue
        part = np.abs(raw[before:start])
        quiet = 0.06 * part.max(initial=0.0)
        closure = 0
        while closure < rate * _LONGEST_CLOSURE_S and closure + frame < len(part):
            if part[len(part) - closure - frame : len(part) - closure].max() > quiet:
                break
            closure += frame
        moved[k] = (start - closure, name)
    return moved


def _events(marks: list[tuple[int, str]], rate: int, lead_s: float, end_s: float) -> list[PhoneEvent]:
    """Phone starts -> events without gaps over [0, end_s]; a mark lasts until the next one."""
    times = [(lead_s + sample / rate, name) for sample, name in marks]
    events: list[PhoneEvent] = []
    if not times or times[0][0] > 0.0:
        times.insert(0, (0.0, ""))
    for k, (start, name) in enumerate(times):
        end = min(times[k + 1][0] if k + 1 < len(times) else end_s, end_s)
        if end <= start:
            continue
        ipa = name.strip(_STRESS_MARKS + " ")
        ipa = "" if ipa in _SILENT_NAMES else ipa
        if events and not ipa and not events[-1].ipa:  # pauses in a row are one pause
            events[-1] = PhoneEvent(events[-1].start_s, end, "", SILENCE, False)
            continue
        parts = split_diphthong(ipa)
        edges = np.linspace(start, end, len(parts) + 1).tolist()
        for part, part_start, part_end in zip(parts, edges[:-1], edges[1:], strict=True):
            events.append(PhoneEvent(part_start, part_end, part, viseme_of_ipa(part), False))
    return events


def _with_stress(events: list[PhoneEvent], pcm: NDArray[np.float32]) -> list[PhoneEvent]:
    vowels = [k for k, event in enumerate(events) if event.viseme in VOWELS]
    energy = []
    for k in vowels:
        part = pcm[round(events[k].start_s * SAMPLE_RATE) : round(events[k].end_s * SAMPLE_RATE)]
        energy.append(np.log(1e-9 + float((part.astype(np.float64) ** 2).sum())))
    prominent = {k for k, e in zip(vowels, energy, strict=True) if e > np.mean(energy) + 0.2}
    return [replace(event, stressed=True) if k in prominent else event for k, event in enumerate(events)]
