"""The local graph on a real (tiny) avatar: spans of any cutting see what the whole file would show."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from being.audio.features import FeatureSpec, load_extractor
from being.audio.windows import WindowSpec, file_contexts, look_ahead_s
from being.avatar.folder import Avatar
from being.avatar.library import Library
from being.errors import BeingError, InputError
from being.inference.engine import Engine
from being.inference.records import FrameRecord
from being.live.encoder import SoundEncoder, span_contexts
from being.live.graph import LocalGraph
from being.live.offline import perform
from being.live.session import Limits, Session
from being.live.spans import FRAME_SAMPLES, AvatarFacts, Fade, Stage, context_steps, reach_of

LOGMEL = FeatureSpec(name="logmel")


@pytest.fixture(scope="module")
def graph(tiny_folder: Path) -> Iterator[LocalGraph]:
    graph = LocalGraph(Engine(Library([tiny_folder]), device="cpu"))
    yield graph
    graph.close()


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise with syllables in it."""
    time = np.arange(int(16000 * seconds)) / 16000
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.2 * noise * np.sin(2 * np.pi * 2 * time) ** 2).astype(np.float32)


def reach_sound(pcm: np.ndarray, first: int, count: int, windows: WindowSpec) -> np.ndarray:
    reach = reach_of(load_extractor(LOGMEL), windows)
    padded = np.pad(pcm, (reach.past, reach.future))
    return padded[FRAME_SAMPLES * first :][: reach.past + FRAME_SAMPLES * (count - 1) + reach.future]


def session_of(facts: AvatarFacts, pcm: np.ndarray) -> Session:
    session = Session("s", facts, Stage(64, 48), limits=Limits(onset_s=0))
    session.hear(pcm, np.repeat(pcm, 3)[:, None], 0.0)
    return session


@pytest.mark.parametrize("look_ahead", [0, 1, 4, "published"])
def test_spans_of_any_cutting_have_the_contexts_of_the_whole(look_ahead: int) -> None:
    windows = WindowSpec(look_ahead=look_ahead)
    extractor = load_extractor(LOGMEL)
    pcm = speech(1.5)
    whole = span_contexts(extractor, windows, reach_sound(pcm, 0, 30, windows), 30)
    assert whole.shape == (30, 8, 16, extractor.width)
    for first, count in ((0, 1), (7, 4), (29, 1), (3, 20)):
        part = span_contexts(extractor, windows, reach_sound(pcm, first, count, windows), count)
        np.testing.assert_allclose(part, whole[first : first + count], atol=1e-4)
    steps = extractor(pcm, -40, 160)  # and they are the extractor's own steps, at the documented places
    if look_ahead != "published":
        np.testing.assert_allclose(whole, file_contexts(pcm, extractor, windows, 30), atol=1e-4)
    low, high = context_steps(windows)
    np.testing.assert_allclose(whole[12, 0, 0], steps[40 + 24 + low], atol=1e-4)
    np.testing.assert_allclose(whole[12, -1, -1], steps[40 + 24 + high], atol=1e-4)


def test_look_ahead_is_counted() -> None:
    extractor = load_extractor(LOGMEL)
    right = extractor.right_context / 16000
    assert reach_of(extractor, WindowSpec(look_ahead=0)).look_ahead_s == pytest.approx(right)
    assert reach_of(extractor, WindowSpec(look_ahead=1)).look_ahead_s == pytest.approx(0.04 + right)
    published = WindowSpec(look_ahead="published")
    assert reach_of(extractor, published).look_ahead_s == pytest.approx(look_ahead_s(published, extractor))


def test_a_span_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(InputError, match="samples"):
        span_contexts(load_extractor(LOGMEL), WindowSpec(look_ahead=1), np.zeros(100, np.float32), 2)


def test_a_fade_mixes_the_old_sound_in(graph: LocalGraph) -> None:
    windows = WindowSpec(look_ahead=1)
    facts = asyncio.run(graph.prepare("tiny"))
    new = session_of(facts, speech(1, 1)).take(4, 0.0).span
    old = session_of(facts, speech(1, 2)).take(4, 0.0).span
    encoder = SoundEncoder()
    faded = replace(new, fade=Fade(old.pcm, np.array([1, 0.5, 0.25, 0], np.float32)))
    a, b, mixed = (encoder.encode(span, LOGMEL, windows) for span in (new, old, faded))
    np.testing.assert_allclose(mixed[0], b[0], atol=1e-5)
    np.testing.assert_allclose(mixed[1], (a[1] + b[1]) / 2, atol=1e-5)
    np.testing.assert_allclose(mixed[3], a[3], atol=1e-5)


def test_a_tick_mixes_sessions_avatars_and_sizes(graph: LocalGraph) -> None:
    async def tick() -> list[FrameRecord]:
        spans = []
        for name, size in (("tiny", (64, 48)), ("other", (32, 32))):
            facts = await graph.prepare(name)
            session = Session(name, facts, Stage(*size), limits=Limits(onset_s=0))
            spans.append(session.take(2, 0.0).span)
        bad = replace(spans[0], avatar="nobody")
        return await graph.submit([spans[0], bad, spans[1]])

    records = asyncio.run(tick())
    assert [record.index for record in records] == [0, 1] * 3
    assert [None if r.image is None else r.image.shape for r in records] == [
        (48, 64, 3), (48, 64, 3), None, None, (32, 32, 3), (32, 32, 3)
    ]  # fmt: skip
    assert records[2].error is not None and "nobody" in records[2].error


def test_live_ticks_draw_what_the_file_draws(graph: LocalGraph) -> None:
    facts = asyncio.run(graph.prepare("tiny"))
    pcm = speech(1.0)
    whole = graph.draw([session_of(facts, pcm).take(25, 0.0).span])
    session = session_of(facts, pcm)
    ticked = [record for count in (1, 2, 4, 1, 17) for record in graph.draw([session.take(count, 0.0).span])]
    for one, other in zip(whole, ticked, strict=True):
        assert one.index == other.index
        assert abs(one.image.astype(int) - other.image).max() <= 2


class Notebook:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.pictures: list[int] = []
        self.heard: list[np.ndarray] = []

    def picture(self, index: int, record: FrameRecord) -> None:
        if record.error is not None:
            raise BeingError(record.error)
        self.pictures.append(index)

    def repeat(self, index: int) -> None:
        raise AssertionError("nothing is late offline")

    def sound(self, pcm: np.ndarray) -> None:
        self.heard.append(pcm)

    def close(self) -> None: ...


def test_a_file_is_performed_whole_and_streams_out(graph: LocalGraph) -> None:
    facts = asyncio.run(graph.prepare("tiny"))
    pcm = speech(1.01)
    ears = np.repeat(pcm, 3)[:-1, None]  # a sample short, as resampling may leave it
    notebook = Notebook()
    seen = []
    totals = asyncio.run(
        perform(graph, facts, Stage(64, 48), pcm, ears, notebook, batch=10, progress=lambda *at: seen.append(at))
    )
    assert totals.frames == 26
    assert notebook.pictures == list(range(26))
    assert seen == [(10, 26), (20, 26), (26, 26)]
    heard = np.concatenate(notebook.heard)
    assert heard.shape == (26 * 1920, 1)
    np.testing.assert_array_equal(heard[: len(ears)], ears)
    assert not heard[len(ears) :].any()


def test_an_undrawable_frame_stops_the_performance(graph: LocalGraph, tiny_avatar: Avatar) -> None:
    facts = replace(asyncio.run(graph.prepare("tiny")), id="gone")
    with pytest.raises(BeingError, match="gone"):
        asyncio.run(perform(graph, facts, Stage(64, 48), speech(0.5), speech(1.5)[:, None], Notebook()))
