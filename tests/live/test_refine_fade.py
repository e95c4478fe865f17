"""What is left of the refiner while drawing cannot keep up."""

from __future__ import annotations

from being.live.refine_fade import FORGIVEN, HOLD, LEVELS, RefineFade


def ticks(fade: RefineFade, count: int) -> None:
    for _ in range(count):
        fade.in_time()


def test_it_is_gone_after_four_late_ticks_and_comes_back_when_all_is_well() -> None:
    fade = RefineFade()
    assert fade.share == 1
    shares = []
    for _ in range(5):
        fade.late()
        shares.append(fade.share)
    assert shares == [0.75, 0.5, 0.25, 0, 0]
    ticks(fade, 2 * HOLD - 1)
    assert fade.share == 0
    ticks(fade, 30)
    assert fade.share == 1


def test_a_fall_that_follows_soon_is_held_longer_and_forgiven_in_the_end() -> None:
    fade = RefineFade()

    def back_after() -> int:
        for count in range(10_000):
            if fade.share == 1:
                return count
            fade.in_time()
        raise AssertionError

    fade.late()
    first = back_after()
    fade.late()
    assert back_after() > 1.5 * first
    ticks(fade, FORGIVEN + 1)
    fade.late()
    assert back_after() < first


def test_strengths_are_told_in_steps() -> None:
    fade = RefineFade()
    fade.late()
    ticks(fade, 2 * HOLD)
    seen = set()
    for _ in range(40):
        fade.in_time()
        seen.add(fade.share * LEVELS)
    assert all(value == int(value) for value in seen)
