"""How busy renderers are, as their answers reported: those that come through Serve, each maybe from another replica."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from being.graph.channel.client import LOAD_S
from being.graph.rendered_batch import RendererLoad

KEPT_S = 10.0  # a renderer that has not answered for so long draws for this worker no more


class ReportedLoads:
    """The last word of each renderer, by shard.

    now : steady clock, seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._reported: dict[int, dict[str, tuple[float, RendererLoad]]] = {}

    def note(self, shard: int, load: RendererLoad) -> None:
        """A renderer has answered."""
        if load.renderer:
            self._reported.setdefault(shard, {})[load.renderer] = self._now(), load

    def of(self, shard: int) -> tuple[RendererLoad, ...]:
        """Those that have answered lately; how busy they are only where that was just now."""
        now = self._now()
        reported = {name: (at, load) for name, (at, load) in self._reported.get(shard, {}).items() if now - at < KEPT_S}
        self._reported[shard] = reported
        return tuple(load if now - at < LOAD_S else replace(load, busy=None) for at, load in reported.values())
