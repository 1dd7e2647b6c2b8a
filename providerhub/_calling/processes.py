"""Processes of this machine, one call at a time each. A killed one costs only its own calls, and is replaced."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any


class Processes(Executor):
    """`count` processes. They are started when they are needed, and not by a fork, since this process has threads."""

    def __init__(self, count: int) -> None:
        self._pools = [_pool() for _ in range(count)]
        self._calls: list[set[Future[Any]]] = [set() for _ in range(count)]

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a call to the process with the fewest ones."""
        place = min(range(len(self._pools)), key=lambda place: len(self._calls[place]))
        try:
            future = self._pools[place].submit(call, *args, **kwargs)
        except BrokenProcessPool:
            self._pools[place].shutdown(wait=False)
            self._pools[place], self._calls[place] = _pool(), set()
            future = self._pools[place].submit(call, *args, **kwargs)
        calls = self._calls[place]
        calls.add(future)
        future.add_done_callback(calls.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 -- as in the base class
        """End all processes."""
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=cancel_futures)
        for pool in self._pools if wait else ():
            pool.shutdown(cancel_futures=cancel_futures)


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))
