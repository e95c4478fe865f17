"""The server's measurements through Ray's exporter, which adds the replica's name and gathers all nodes."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import Any

from ray.serve import metrics

from being.server.metrics import INSTRUMENTS

SAMPLED = {"being_stage_seconds", "being_latency_seconds"}
"""Every frame is measured so. Ray takes 40 us a number, so it is told every fourth; `/metrics` has them all."""
SAMPLE = 4
GATHERED = {"being_ticks", "being_frames"}
"""Counted with every frame: told together."""
GATHERED_S = 1.0
STEADY = {"being_frame_cost_seconds"}
"""Set with every tick and much the same each time: told once in `GATHERED_S`."""


class RayMeter:
    """Use inside a replica."""

    def __init__(self) -> None:
        self._observed = Counter[tuple[str, ...]]()
        self._gathered: defaultdict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        self._told = time.monotonic()
        self._told_of: dict[tuple[str, ...], float] = {}  # when, of those that are steady
        self._counters: dict[str, metrics.Counter] = {}
        self._gauges: dict[str, metrics.Gauge] = {}
        self._histograms: dict[str, metrics.Histogram] = {}
        for item in INSTRUMENTS:
            labels: Any = item.labels  # Ray types a tuple of one
            if item.kind == "counter":
                self._counters[item.name] = metrics.Counter(item.name, item.description, tag_keys=labels)
            elif item.kind == "gauge":
                self._gauges[item.name] = metrics.Gauge(item.name, item.description, tag_keys=labels)
            else:
                self._histograms[item.name] = metrics.Histogram(
                    item.name, item.description, boundaries=list(item.buckets), tag_keys=labels
                )

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        if value <= 0:  # Ray refuses to count nothing
            return
        if name not in GATHERED:
            self._counters[name].inc(value, tags=labels)
            return
        self._gathered[name, tuple(labels.items())] += value
        if time.monotonic() - self._told > GATHERED_S:
            for (gathered, tags), total in self._gathered.items():
                self._counters[gathered].inc(total, tags=dict(tags))
            self._gathered.clear()
            self._told = time.monotonic()

    def set(self, name: str, value: float, **labels: str) -> None:
        if name in STEADY:
            key, now = (name, *labels.values()), time.monotonic()
            if now - self._told_of.get(key, -GATHERED_S) < GATHERED_S:
                return
            self._told_of[key] = now
        self._gauges[name].set(value, tags=labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        if name in SAMPLED:
            key = (name, *labels.values())
            self._observed[key] += 1
            if self._observed[key] % SAMPLE != 1:
                return
        self._histograms[name].observe(value, tags=labels)
