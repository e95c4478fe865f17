"""A file performed whole: every frame, every sample, errors that stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from support.scene import speech

from being.avatar.folder import Avatar
from being.errors import BeingError
from being.graph.local import InProcessGraph
from being.graph.offline import PairedBlocks, perform, whole
from being.inference.frames import FrameRecord
from being.live.requests import OutputFormat


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


def test_a_file_is_performed_whole_and_streams_out(graph: InProcessGraph) -> None:
    facts = asyncio.run(graph.prepare("tiny"))
    pcm = speech(1.01)
    playback_pcm = np.repeat(pcm, 3)[:-1, None]  # a sample short, as resampling may leave it
    notebook = Notebook()
    seen = []
    totals = asyncio.run(
        perform(
            graph,
            facts,
            OutputFormat(64, 48),
            whole(pcm, playback_pcm),
            notebook,
            batch=10,
            progress=lambda *at: seen.append(at),
        )
    )
    assert totals.frames == 26
    assert notebook.pictures == list(range(26))
    assert seen == [(10, 26), (20, 26), (26, 26)]
    heard = np.concatenate(notebook.heard)
    assert heard.shape == (26 * 1920, 1)
    np.testing.assert_array_equal(heard[: len(playback_pcm)], playback_pcm)
    assert not heard[len(playback_pcm) :].any()


def test_a_sound_in_blocks_is_performed_as_the_whole(graph: InProcessGraph) -> None:
    """Small blocks of any length, stereo: the same pictures asked for, the same sound heard, never read far ahead."""
    facts = asyncio.run(graph.prepare("tiny"))
    pcm = speech(4.0)
    playback_pcm = np.stack([np.repeat(pcm, 3), np.repeat(-pcm, 3)], axis=1)
    lengths = np.random.default_rng(3).integers(0, 900, 200)
    cuts = [0, *np.cumsum(lengths)[np.cumsum(lengths) < len(pcm)].tolist(), len(pcm)]
    read = [0]

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start, stop in pairwise(cuts):
            read.append(stop)
            yield pcm[start:stop], playback_pcm[3 * start : 3 * stop]

    class Eager(Notebook):
        furthest = 0

        def picture(self, index: int, record: FrameRecord) -> None:
            super().picture(index, record)
            self.furthest = max(self.furthest, read[-1] - 640 * index)
            self.looks = [*getattr(self, "looks", []), np.array(record.image)]

    def run(sound: PairedBlocks) -> Eager:
        notebook = Eager()
        asyncio.run(perform(graph, facts, OutputFormat(64, 48), sound, notebook, channels=2, batch=7))
        return notebook

    ours, right = run(blocks()), run(whole(pcm, playback_pcm))
    assert ours.pictures == right.pictures == list(range(100))
    np.testing.assert_array_equal(np.concatenate(ours.heard), np.concatenate(right.heard))
    np.testing.assert_array_equal(np.stack(ours.looks), np.stack(right.looks))
    assert ours.furthest < 16_000 + 640 * 7 * 4, "of a long sound only what is drawn soon is read"


def test_an_undrawable_frame_stops_the_performance(graph: InProcessGraph, tiny_avatar: Avatar) -> None:
    facts = replace(asyncio.run(graph.prepare("tiny")), id="gone")
    with pytest.raises(BeingError, match="gone"):
        asyncio.run(perform(graph, facts, OutputFormat(64, 48), whole(speech(0.5), speech(1.5)[:, None]), Notebook()))
