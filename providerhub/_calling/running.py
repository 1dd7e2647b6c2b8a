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

    def __reduce__(self) -> tuple[type[Running], tuple[()]]:
        return Running, ()

    @property
    def is_over(self) -> bool:
        """Whether `stop` was called."""
        return self._over.is_set()

    @contextlib.contextmanager
    def holding(self, call: Stoppable) -> Iterator[None]:
        """Keep a call while it runs."""
        self._calls.add(call)
        if self._over.is_set():
            call.stop()
        try:
            yield
        finally:
            self._calls.discard(call)

    def stop(self) -> None:
        """Give up all calls, and every call that begins later."""
        self._over.set()
        for call in self._calls.copy():
            call.stop()

    def sleep(self, seconds: float) -> bool:
        """Wait; false when `stop` ended the wait."""
        return not self._over.wait(seconds)
