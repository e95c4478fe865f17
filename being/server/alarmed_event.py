"""An event that is waited for often, and for so long at most."""

from __future__ import annotations

import asyncio


class AlarmedEvent(asyncio.Event):
    """Set by others, or by an alarm that stands on from one `wait_or_alarm` to the next: a timer a wait costs more."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._alarm: asyncio.TimerHandle | None = None

    async def wait_or_alarm(self) -> None:
        """Until it is set; within `seconds` it is, by the alarm."""
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(self._seconds, self._ring)
        await self.wait()

    def cancel_alarm(self) -> None:
        """Nobody waits any more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self) -> None:
        self._alarm = None
        self.set()
