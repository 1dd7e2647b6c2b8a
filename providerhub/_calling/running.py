"""Calls under way, which another thread may give up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

POLL = 0.2
"""Seconds. A wait in the caller's thread is made of waits of this length, since a signal that comes in the instant before a wait
is noticed after it, and no signal ends a wait under Windows."""


class Running:
    """The calls under way in this process, so that they can be given up. It pickles as an empty one. Thread-safe."""

    def __init__(self) -> None:
        self.calls: set[Any] = set()
        """The calls without an answer so far. Each call adds itself, and `stop` calls its `stop()`."""
        self._stops: dict[Callable[[], object], Callable[[str], object]] = {}
        self._over = threading.Event()
        self.is_over = False
        """Whether `stop` was called."""

    def __reduce__(self) -> tuple[type[Running], tuple[()]]:
        return type(self), ()

    @contextlib.contextmanager
    def holding(self, stop: Callable[[], object], forgiven: Callable[[str], object] = str) -> Iterator[None]:
        """Give a call up by `stop`, and tell it of a provider to ask again by `forgiven`, in any thread, while it runs."""
        self._stops[stop] = forgiven
        if self._over.is_set():
            stop()
        try:
            yield
        finally:
            self._stops.pop(stop, None)

    def stop(self) -> None:
        """Give up all calls, and every call that begins later."""
        self.is_over = True
        self._over.set()
        for stop in (*self._stops.copy(), *(call.stop for call in self.calls.copy())):
            stop()

    def forgive(self, provider: str) -> None:
        """Let all calls that wait for a provider ask it again."""
        for forgiven in self._stops.copy().values():
            forgiven(provider)

    def sleep(self, seconds: float) -> bool:
        """Wait; false when `stop` ended the wait."""
        return not self._over.wait(seconds)
