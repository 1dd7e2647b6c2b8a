"""Processes of loky, which are replaced after one was killed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from loky import ProcessPoolExecutor


class Loky(Executor):
    """`count` processes of loky. After a process was killed, the next call starts new processes."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = ProcessPoolExecutor(count)

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Make a call in a process."""
        future: Future[Any]
        try:
            future = self._pool.submit(call, *args, **kwargs)
        except BrokenProcessPool:
            self._pool.shutdown(wait=False)
            self._pool = ProcessPoolExecutor(self._count)
            future = self._pool.submit(call, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 -- as in the base class
        """End the processes."""
        self._pool.shutdown(wait=wait, kill_workers=cancel_futures)
