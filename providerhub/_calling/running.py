"""Calls under way, which another thread may give up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Protocol


class Stoppable(Protocol):
    """A call under way."""

    def stop(self) -> None:
        """Give the call up. May be called from any thread."""
        ...  # pragma: no cover -- a protocol's method is never run


class Running:
    """The calls under way in this process, so that they can be given up. It pickles as an empty one. Thread-safe."""

    def __init__(self) -> None:
        self._calls: set[Stoppable] = set()
        self._over = threading.Event()
        self.is_over = False
        """Whether `stop` was called."""

    def __reduce__(self) -> tuple[type[Running], tuple[()]]:
        return Running, ()

    @contextlib.contextmanager
    def holding(self, call: Stoppable) -> Iterator[None]:
        """Keep a call while it runs."""
        self._calls.add(call)
        if self.is_over:
            call.stop()
        try:
            yield
        finally:
            self._calls.discard(call)

    def stop(self) -> None:
        """Give up all calls, and every call that begins later."""
        self.is_over = True
        self._over.set()
        for call in self._calls.copy():
            call.stop()

    def sleep(self, seconds: float) -> bool:
        """Wait; false when `stop` ended the wait."""
        return not self._over.wait(seconds)
