"""Measurements of several workers in one text."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from being.server.merged_metrics import merged_exposition
from being.server.metrics import PrometheusMeter


def test_every_sample_keeps_its_worker() -> None:
    meters = {"one": PrometheusMeter(), "two": PrometheusMeter()}
    for number, meter in enumerate(meters.values(), 1):
        meter.add("being_ticks", number)
        meter.set("being_sessions", number, state="live")
        meter.observe("being_latency_seconds", 0.05 * number)
    text = merged_exposition({name: meter.exposition() for name, meter in meters.items()}).decode()
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["being_ticks_total", (("worker", "two"),)] == 2
    assert samples["being_sessions", (("state", "live"), ("worker", "one"))] == 1
    assert samples["being_latency_seconds_count", (("worker", "one"),)] == 1
    assert samples["being_latency_seconds_bucket", (("le", "0.06"), ("worker", "one"))] == 1
    assert samples["being_latency_seconds_bucket", (("le", "0.06"), ("worker", "two"))] == 0
    assert text.count("# TYPE being_ticks_total counter") == 1
