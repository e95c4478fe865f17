"""What several workers measured as one exposition in Prometheus' text format: each sample with its worker's name."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector


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
