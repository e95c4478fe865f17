"""What one session's frames came to: latencies, frames a second, repeats. Pure: the time is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from being.constants import FPS
from being.live.scheduler import Delivery, Picture, Repeat
from being.server.metrics import Meter
from being.server.schemas import Latency

LATENCIES = 250  # frames remembered for the percentiles
STATS_S = 1.0  # how often a client is told


class SessionStats:
    """Counts of one session, over all its connections."""

    def __init__(self, meter: Meter) -> None:
        self.repeats = 0
        self._meter = meter
        self._due: dict[int, float] = {}  # frame -> when its tick began
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._shown: deque[float] = deque(maxlen=4 * FPS)  # when distinct frames were sent
        self._dropped = 0  # by streams that were closed
        self._counted = 0  # of what was dropped, told to the meter
        self._reported_at = 0.0

    def restart(self, now: float) -> None:
        """A connection begins."""
        self._due.clear()
        self._reported_at = now

    def due(self, frames: range, now: float) -> None:
        """The tick of these frames began."""
        for frame in frames:
            self._due[frame] = now

    def encoded(self, batch: Sequence[Delivery], took_s: float, now: float) -> None:
        """A batch was encoded and can be sent."""
        self._meter.observe("being_stage_seconds", took_s, stage="encode")
        distinct = repeated = 0
        for delivery in batch:
            if isinstance(delivery, Picture):
                distinct += 1
                self._shown.append(now)
                if (due := self._due.pop(delivery.index, None)) is not None:
                    self._latencies.append(now - due)
                    self._meter.observe("being_latency_seconds", now - due)
            elif isinstance(delivery, Repeat):
                repeated += 1
                self._due.pop(delivery.index, None)
        self.repeats += repeated
        if distinct:
            self._meter.add("being_frames", float(distinct), kind="distinct")
        if repeated:
            self._meter.add("being_frames", float(repeated), kind="repeated")

    def stream_closed(self, dropped: int) -> None:
        """A stream ended after it dropped so many pieces."""
        self._dropped += dropped

    def restore(self, repeats: int, dropped: int) -> None:
        """Go on counting from there; the meter was told of these elsewhere."""
        self.repeats = repeats
        self._dropped = self._counted = dropped

    def dropped(self, now_dropped: int) -> int:
        """Pieces the client never got, `now_dropped` of them of the running stream."""
        return self._dropped + now_dropped

    def fps(self, now: float) -> float:
        """Distinct frames of the last second."""
        return float(sum(now - 1.0 < shown for shown in self._shown))

    def latency(self) -> Latency | None:
        """Percentiles of the last frames, None before the first."""
        if not self._latencies:
            return None
        ordered = sorted(self._latencies)
        p50, p95, p99 = (round(1000 * quantile(ordered, share), 1) for share in (0.5, 0.95, 0.99))
        return Latency(p50=p50, p95=p95, p99=p99)

    def report_is_due(self, now: float, dropped: int) -> bool:
        """Whether a second has passed since the client was told; the meter is told of new drops then."""
        if now - self._reported_at < STATS_S:
            return False
        self._reported_at = now
        if dropped > self._counted:
            self._meter.add("being_dropped_pieces", float(dropped - self._counted))
            self._counted = dropped
        return True


def quantile(ordered: Sequence[float], share: float) -> float:
    """As `np.quantile` has it, of sorted numbers; a few hundred are sorted in a tenth of the time of its call."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
