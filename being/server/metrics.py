"""What the server measures of itself, in one table, and where it goes: Prometheus, Ray's exporter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Kind = Literal["counter", "gauge", "histogram"]
InstrumentT = TypeVar("InstrumentT", Counter, Gauge, Histogram)

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.12, 0.2, 0.4, 1.0)


@dataclass(frozen=True)
class Instrument:
    name: str
    kind: Kind
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SECONDS


INSTRUMENTS = (
    Instrument("being_sessions", "gauge", "Live sessions", ("state",)),
    Instrument("being_ticks", "counter", "Ticks sent to the graph"),
    Instrument("being_late_ticks", "counter", "Ticks that had to carry more than one frame a session"),
    Instrument("being_faded_ticks", "counter", "Ticks whose frames got less of the refiner than they were to"),
    Instrument("being_failed_ticks", "counter", "Ticks the graph did not answer in time or at all"),
    Instrument("being_frames", "counter", "Frames sent to live clients", ("kind",)),
    Instrument("being_dropped_pieces", "counter", "Pieces of stream that slow clients never got"),
    Instrument("being_interrupts", "counter", "Interruptions"),
    Instrument("being_refused", "counter", "Requests refused", ("reason",)),
    Instrument("being_stage_seconds", "histogram", "Time a tick spends in a stage", ("stage",)),
    Instrument("being_latency_seconds", "histogram", "Tick to sent, each frame of live sessions"),
    Instrument("being_frame_cost_seconds", "gauge", "Renderer time of a frame", ("avatar", "size")),
    Instrument("being_speak_seconds", "histogram", "Request of speak to", ("until",), (0.2, 0.5, 1, 2, 5, 15, 60)),
)


class Meter(Protocol):
    """Takes measurements by the instruments' names."""

    def add(self, name: str, value: float = 1.0, **labels: str) -> None: ...

    def set(self, name: str, value: float, **labels: str) -> None: ...

    def observe(self, name: str, value: float, **labels: str) -> None: ...


class PrometheusMeter:
    """A registry of its own, so that several servers can live in one process."""

    def __init__(self, instruments: Sequence[Instrument] = INSTRUMENTS) -> None:
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._children: dict[tuple[Any, ...], Counter | Gauge | Histogram] = {}
        for item in instruments:
            if item.kind == "counter":
                self._counters[item.name] = Counter(item.name, item.description, item.labels, registry=self._registry)
            elif item.kind == "gauge":
                self._gauges[item.name] = Gauge(item.name, item.description, item.labels, registry=self._registry)
            else:
                self._histograms[item.name] = Histogram(
                    item.name, item.description, item.labels, registry=self._registry, buckets=item.buckets
                )

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        self._labelled(self._counters, name, labels).inc(value)

    def set(self, name: str, value: float, **labels: str) -> None:
        self._labelled(self._gauges, name, labels).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        self._labelled(self._histograms, name, labels).observe(value)

    def _labelled(self, instruments: Mapping[str, InstrumentT], name: str, labels: Mapping[str, str]) -> InstrumentT:
        """The instrument with these labels, remembered: the client library takes microseconds to find it."""
        if not labels:
            return instruments[name]
        key = name, *labels.items()
        if (found := self._children.get(key)) is None:
            found = self._children[key] = instruments[name].labels(**labels)
        return cast("InstrumentT", found)

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)


class Meters:
    """Several meters as one."""

    def __init__(self, *meters: Meter) -> None:
        self._meters = meters

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        for meter in self._meters:
            meter.add(name, value, **labels)

    def set(self, name: str, value: float, **labels: str) -> None:
        for meter in self._meters:
            meter.set(name, value, **labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        for meter in self._meters:
            meter.observe(name, value, **labels)
