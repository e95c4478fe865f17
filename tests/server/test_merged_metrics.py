"""Measurements of several workers in one text."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from being.server.merged_metrics import merged_exposition, room_exposition
from being.server.metrics import PrometheusMeter
from being.server.room_plan import RendererShare, Room


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


def test_the_room_stands_beside_what_workers_measured() -> None:
    meter = PrometheusMeter()
    meter.set("being_sessions", 1, state="live")
    shares = {"r1": RendererShare(0.25, 0.5), "r2": RendererShare(None, 0.0)}
    text = meter.exposition() + room_exposition(Room(5, {"one": 3, "two": 4}, shares))
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert samples["being_room",] == 5 and samples["being_room_of_worker", "two"] == 4
    assert samples["being_renderer_planned", "r1"] == 0.5 and samples["being_renderer_busy", "r1"] == 0.25
    assert ("being_renderer_busy", "r2") not in samples and samples["being_sessions", "live"] == 1
