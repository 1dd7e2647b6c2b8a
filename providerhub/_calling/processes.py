"""Processes of this machine, each with one call at a time. A killed process loses only its own call, and is replaced."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures import wait as _wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any
from weakref import WeakSet

from providerhub._watchdog import WATCHDOG

GRACE = 1.0  # seconds that the end of many calls waits for running calls


class Processes(Executor):
    """`count` processes, started when needed, without a fork, since this process has threads."""

    def __init__(self, count: int) -> None:
        self._pools = [_pool() for _ in range(count)]
        self._calls: list[set[Future[Any]]] = [set() for _ in range(count)]
        self._process = WATCHDOG.process
        _open.add(self)

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
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
        """End all processes. With `cancel_futures`, also end processes whose calls run longer than `GRACE`."""
        kills = [self._kill_of(place) for place in range(len(self._pools))]
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=cancel_futures)
        if cancel_futures and wait:
            _wait([future for calls in self._calls for future in calls], GRACE)
            for kill in kills:
                kill()

    def kill(self) -> None:
        """End the processes with running calls at once."""
        for place in range(len(self._pools)):
            self._kill_of(place)()

    def _kill_of(self, place: int) -> Callable[[], None]:
        """Return a function that ends a process while it makes a call."""
        calls = self._calls[place]
        found = list((self._pools[place]._processes or {}).values())  # noqa: SLF001 -- Python up to 3.13 has no other way

        def kill() -> None:
            # A forked process must not kill the processes of its parent.
            for process in found if calls and self._process is WATCHDOG.process else ():
                process.kill()

        return kill


_open: WeakSet[Processes] = WeakSet()


def _kill_all() -> None:
    for one in tuple(_open):
        one.kill()


# At its end, the interpreter calls this function before it joins the threads of the pools.
getattr(threading, "_register_atexit", bool)(_kill_all)


def _end_with_parent() -> None:
    """End this process when its parent process has ended."""
    parent = parent_process()
    assert parent is not None  # noqa: S101 -- a process of a pool has one

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="providerhub-parent", daemon=True).start()


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_with_parent)
