"""The fake clock."""

from __future__ import annotations

import asyncio
import math

import pytest

from providerhub.testing import FakeClock


def test_time_stands_until_it_is_moved() -> None:
    clock = FakeClock(5.0)
    assert (clock(), clock.monotonic()) == (5.0, 5.0)
    clock.advance(2.5)
    assert clock() == 7.5
    assert clock.sleeps == []


def test_sleeping_moves_time_and_is_noted() -> None:
    clock = FakeClock()
    start = clock()
    clock.sleep(3)
    clock.sleep(0)
    assert clock() - start == 3
    assert clock.sleeps == [3, 0]


def test_asynchronous_sleep_lets_other_tasks_run() -> None:
    clock, order = FakeClock(), []

    async def sleeper(name: str) -> None:
        for _ in range(2):
            order.append(name)
            await clock.asleep(1)

    async def both() -> None:
        await asyncio.gather(sleeper("a"), sleeper("b"))

    asyncio.run(both())
    assert order == ["a", "b", "a", "b"]
    assert clock.sleeps == [1, 1, 1, 1]


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, math.inf])
def test_impossible_sleeps_are_refused(seconds: float) -> None:
    clock = FakeClock()
    for move in (clock.sleep, clock.advance):
        with pytest.raises(ValueError, match="finite and not negative"):
            move(seconds)
    assert clock() == FakeClock()()
    assert clock.sleeps == []


def test_an_attempt_that_nothing_joins_rests_alone():
    clock, woken = FakeClock(), []
    clock.watch(call := object(), 5, lambda: False)
    clock.rest(call, clock() + 10, lambda: woken.append(clock()))
    assert woken == [1010.0]
