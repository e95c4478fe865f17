"""What sessions cost: the renderer's time and the session worker's own for each frame, as it was measured."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SMOOTHING = 0.05  # weight of a new measurement: about twenty ticks are remembered
SLOW_START = 5  # measurements before a cost counts: the first frames of an avatar load and compile
HICCUP = 4.0  # times its usual cost that a frame counts at most: a renderer that was replaced loads the avatar again
RECENT_S = 10.0  # for which a worker tells others of a measurement
OUTDATED_S = 60.0  # after which a cost is forgotten where others are measured: the machine may have been busy then
MOST_LOADS = 256  # remembered: clients choose the sizes
FEWEST_FRAMES = 12  # in a window of the process' time: half of one session's
WINDOW_S = 1.0  # over which the process' own time is measured
USUAL_FRAME_S = 0.005  # of a process' own time, where it was not measured yet: a burst of arrivals is bounded by it


@dataclass(frozen=True)
class Load:
    """What a session draws: an avatar at a size."""

    avatar: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass
class _Cost:
    seconds: float
    measured: int
    at: float


def shard_of(avatar: str, shards: int) -> int:
    """The shard of the renderers an avatar belongs to; the same in every process."""
    return zlib.crc32(avatar.encode()) % shards


class ProcessTime:
    """Processor seconds that this process spends for each frame: sessions, encoding and sending all happen in it.

    now, cpu : steady clock and this process' processor time, seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.process_time) -> None:
        self._now, self._cpu = now, cpu
        self._since, self._cpu_then = now(), cpu()
        self._frames = 0
        self.frame_s: float | None = None
        """Seconds of a frame lately; None until there were any."""

    def count(self, frames: int) -> None:
        """So many frames came to be delivered."""
        self._frames += frames
        elapsed = self._now() - self._since
        if elapsed < WINDOW_S:
            return
        # Else nobody was here for a while, or frames did not come: that time says nothing of what one takes.
        if elapsed < 2 * WINDOW_S and self._frames >= FEWEST_FRAMES:
            spent = (self._cpu() - self._cpu_then) / self._frames
            self.frame_s = spent if self.frame_s is None else self.frame_s + (spent - self.frame_s) / 2
        self._since, self._cpu_then, self._frames = self._now(), self._cpu(), 0


class Admission:
    """Keeps the seconds of renderer time that a frame costs, by avatar and size.

    Parameters
    ----------
    budget : float
        Share of a shard's time that sessions may plan with; the rest is room for `speak` and for noise.
    shards : int
        Renderers that draw side by side, each its own avatars.
    process : ProcessTime, optional
        Of the process that holds the sessions, where nothing is drawn in it: it is full at one core.
    now : callable
        Steady clock, seconds.
    """

    def __init__(
        self,
        budget: float = 0.85,
        shards: int = 1,
        process: ProcessTime | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self.shards = shards
        self.process = process
        self._now = now
        self._costs: dict[Load, _Cost] = {}  # the one measured last at the end

    @property
    def own_cost(self) -> float:
        """Seconds of its own process that a frame takes, `USUAL_FRAME_S` until it was measured; 0 without one."""
        if self.process is None:
            return 0.0
        return USUAL_FRAME_S if self.process.frame_s is None else self.process.frame_s

    def observe(self, frames: Mapping[Load, int], seconds: float) -> None:
        """A pass drew so many frames of each load in `seconds`; shared out by pixels."""
        if self.process is not None:
            self.process.count(sum(frames.values()))
        pixels = sum(load.pixels * count for load, count in frames.items())
        for load, count in frames.items():
            if not count:
                continue
            frame_s = seconds * load.pixels / pixels
            known = self._costs.get(load)
            if known is None or known.measured < SLOW_START:
                measured = 1 if known is None else known.measured + 1
                self._keep(load, _Cost(frame_s, measured, self._now()))
            else:
                step = SMOOTHING * (min(frame_s, HICCUP * known.seconds) - known.seconds)
                self._keep(load, _Cost(known.seconds + step, known.measured + 1, self._now()))

    def costs(self) -> dict[Load, float]:
        """Seconds of a frame of each load that was drawn just now, and often enough to count."""
        since = self._now() - RECENT_S
        return {load: cost.seconds for load, cost in self._counting().items() if cost.at > since}

    def learn(self, costs: Mapping[Load, float]) -> None:
        """Take over what others have just measured."""
        for load, seconds in costs.items():
            self._keep(load, _Cost(seconds, SLOW_START + 1, self._now()))

    def _keep(self, load: Load, cost: _Cost) -> None:
        self._costs.pop(load, None)
        self._costs[load] = cost
        if len(self._costs) > MOST_LOADS:
            self._costs.pop(next(iter(self._costs)))

    def _counting(self) -> dict[Load, _Cost]:
        return {load: cost for load, cost in self._costs.items() if cost.measured > SLOW_START}

    def _known(self) -> dict[Load, float]:
        """What is not outdated; all of it where everything is."""
        counting = self._counting()
        since = self._now() - OUTDATED_S
        known = {load: cost.seconds for load, cost in counting.items() if cost.at > since}
        return known or {load: cost.seconds for load, cost in counting.items()}

    def cost(self, load: Load) -> float | None:
        """Seconds a frame of the load takes; estimated from other loads where it was never drawn, None if none was."""
        known = self._known()
        if load in known:
            return known[load]
        # Measured on a CPU: four times the pixels take one and a half times as long, for the Gaussians stay the same.
        guesses = [seconds * max(1.0, load.pixels / other.pixels) ** 0.5 for other, seconds in known.items()]
        return max(guesses) if guesses else None


Observer = Callable[[Mapping[Load, int], float], None]
