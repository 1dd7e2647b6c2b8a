"""Thousands of answers at once share the turns of their event loop with the other tasks of the program."""

from __future__ import annotations

import asyncio
import collections

from providerhub.http._session import AT_ONCE, Turns


async def work(turns, done, name):
    if not turns.has_room():
        await turns.wait()
    done.append(name)


def test_only_some_work_in_one_turn_and_the_others_follow_in_their_order():
    async def main():
        turns, done, counts = Turns(asyncio.get_running_loop()), [], []
        tasks = [asyncio.ensure_future(work(turns, done, name)) for name in range(5 * AT_ONCE)]
        while len(done) < len(tasks):
            before = len(done)
            await asyncio.sleep(0)
            counts.append(len(done) - before)
        return done, counts

    done, counts = asyncio.run(main())
    assert done == sorted(done)
    assert max(counts) <= AT_ONCE


def test_a_cancelled_task_takes_no_place():
    async def main():
        turns, done = Turns(asyncio.get_running_loop()), []
        tasks = [asyncio.ensure_future(work(turns, done, name)) for name in range(2 * AT_ONCE + 1)]
        await asyncio.sleep(0)
        for task in tasks[AT_ONCE : 2 * AT_ONCE]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return done

    assert asyncio.run(main()) == [*range(AT_ONCE), 2 * AT_ONCE]


def test_an_idle_loop_gets_no_work():
    async def main():
        loop = asyncio.get_running_loop()
        turns, asked = Turns(loop), collections.Counter()
        assert turns.has_room()
        for _ in range(3):
            await asyncio.sleep(0)
        call_soon = loop.call_soon
        loop.call_soon = lambda made, *args, **options: (asked.update([made]), call_soon(made, *args, **options))[1]
        try:
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            del loop.call_soon
        return asked[turns._begin], turns.has_room()

    assert asyncio.run(main()) == (0, True)
