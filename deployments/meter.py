"""The server's measurements through Ray's exporter, which adds the replica's name and gathers all nodes."""

from __future__ import annotations

from typing import Any

from ray.serve import metrics

from being.server.metrics import INSTRUMENTS


class RayMeter:
    """Use inside a replica."""

    def __init__(self) -> None:
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
        if value > 0:  # Ray refuses to count nothing
            self._counters[name].inc(value, tags=labels)

    def set(self, name: str, value: float, **labels: str) -> None:
        self._gauges[name].set(value, tags=labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        self._histograms[name].observe(value, tags=labels)
