"""The threads of many calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Semaphore
from typing import Any

from providerhub._threads import PromptThread

GRACE = 1.0
"""Seconds that the end of many calls waits for those of plugins that cannot be stopped."""


class Threads(Executor):
    """At most so many threads. Where the system has fewer to give, the calls wait for those that there are.

    They are daemons: the interpreter joins the threads of `ThreadPoolExecutor` at its end, which a service that is silent would
    hold up.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._threads: list[PromptThread] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Let a thread call a function, as every executor does."""
        future: Future[Any] = Future()
        self._work.put((future, lambda: function(*arguments, **named)))
        if not self._idle.acquire(blocking=False):
            self._begin()
        return future

    def grow(self) -> None:
        """Begin a first thread, if the system had none to give before."""
        if not self._threads:
            self._begin()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 -- as in the base class
        """End the threads, and wait `GRACE` for the calls under way."""
        with suppress(Empty):
            while cancel_futures and (work := self._work.get_nowait()):
                work[0].cancel()
        for _ in self._threads:
            self._work.put(None)
        end = time.monotonic() + GRACE * wait
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _begin(self) -> None:
        if len(self._threads) < self._count:
            thread = PromptThread(self._run, f"providerhub-many-{len(self._threads)}")
            try:
                thread.start()
            except RuntimeError:  # a thread that is missing loses no call
                return
            self._threads.append(thread)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            _do(*work)
            del work
            self._idle.release()


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            result = work()
        except BaseException as error:  # raised in the thread that reads the outcomes
            future.set_exception(error)
            del future  # the error keeps this frame
        else:
            future.set_result(result)
