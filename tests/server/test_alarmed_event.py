"""The event in virtual time: one alarm for many waits."""

from __future__ import annotations

import asyncio

from support.virtual_time import run_virtually

from being.server.alarmed_event import AlarmedEvent


def test_a_wait_ends_with_the_event_or_the_alarm() -> None:
    async def scenario() -> list[float]:
        loop, event, ended = asyncio.get_running_loop(), AlarmedEvent(1.0), []
        loop.call_later(0.25, event.set)
        for _ in range(4):
            event.clear()
            await event.wait_or_alarm()
            ended.append(round(loop.time(), 3))
        event.cancel_alarm()
        event.clear()
        await asyncio.sleep(5)
        assert not event.is_set(), "an alarm that was cancelled does not ring"
        return ended

    assert run_virtually(scenario()) == [0.25, 1.0, 2.0, 3.0]
