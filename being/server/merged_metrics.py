"""What several workers measured as one exposition in Prometheus' text format: each sample with its worker's name."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from being.server.room_plan import Room


class _Given(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def merged_exposition(by_worker: Mapping[str, bytes]) -> bytes:
    """Samples of all workers under the label `worker`."""
    merged: dict[str, Metric] = {}
    for worker, exposition in sorted(by_worker.items()):
        for family in text_string_to_metric_families(exposition.decode()):
            metric = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                metric.samples.append(sample._replace(labels={**sample.labels, "worker": worker}))
    return generate_latest(_Given(list(merged.values())))


def room_exposition(room: Room) -> bytes:
    """The room of all workers, and the renderers' time; it is known to whoever is asked, so no worker measures it."""
    in_all = GaugeMetricFamily("being_room", "Further 512x512 sessions that would be admitted now", room.in_all)
    by_worker = GaugeMetricFamily(
        "being_room_of_worker", "Further 512x512 sessions if all came to one worker", labels=["worker"]
    )
    for worker, count in sorted(room.by_worker.items()):
        by_worker.add_metric([worker], count)
    planned = GaugeMetricFamily("being_renderer_planned", "Share of a renderer's time by cost", labels=["renderer"])
    busy = GaugeMetricFamily("being_renderer_busy", "Share of its time that it drew live frames", labels=["renderer"])
    for name, share in room.renderers.items():
        planned.add_metric([name], share.planned)
        if share.busy is not None:
            busy.add_metric([name], share.busy)
    return generate_latest(_Given([in_all, by_worker, planned, busy]))
