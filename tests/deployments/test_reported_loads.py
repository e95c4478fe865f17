"""What renderers said of themselves, and when: time passed in."""

from __future__ import annotations

import pytest

pytest.importorskip("ray")

from being.deployments.reported_loads import KEPT_S, ReportedLoads

from being.graph.channel.client import LOAD_S
from being.graph.rendered_batch import RendererLoad


def test_the_last_word_of_each_counts_for_a_while() -> None:
    clock = [0.0]
    reported = ReportedLoads(lambda: clock[0])
    assert reported.of(0) == ()
    reported.note(0, RendererLoad(0.5, renderer="a"))
    reported.note(0, RendererLoad(0.25, renderer="a"))
    reported.note(1, RendererLoad(0.75, renderer="b"))
    reported.note(0, RendererLoad())  # a refiner's, or of an older renderer: nobody knows whose
    assert reported.of(0) == (RendererLoad(0.25, renderer="a"),) and len(reported.of(1)) == 1
    clock[0] = LOAD_S
    reported.note(0, RendererLoad(0.1, renderer="c"))
    assert reported.of(0) == (RendererLoad(None, renderer="a"), RendererLoad(0.1, renderer="c"))
    clock[0] = KEPT_S
    assert [load.renderer for load in reported.of(0)] == ["c"] and reported.of(1) == ()
