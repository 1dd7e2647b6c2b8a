"""Calls under way, which another thread may give up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

POLL = 0.2
"""Seconds. A wait in the caller's thread is made of waits of this length, since a signal that comes in the instant before a wait
is noticed after it, and no signal ends a wait under Windows."""


class Running:
    """The calls under way in this process, so that they can be given up. It pickles as an empty one. Thread-safe."""

    def __init__(self) -> None:
        self.calls: set[Any] = set()  # The calls without an answer so far. Each call adds itself, and `stop` calls its `stop()`.
        self._waiting: set[Any] = set()
        self._over = threading.Event()
        self.is_over = False  # whether `stop` was called

    def __reduce__(self) -> tuple[type[Running], tuple[()]]:
        return type(self), ()

    @contextlib.contextmanager
    def holding(self, call: Any) -> Iterator[None]:
        """Let `stop` and `forgive` end the wait of a call: its methods `stop()` and `forgiven(provider)`, in any thread."""
        self._waiting.add(call)
        if self.is_over:
            call.stop()
        try:
            yield
        finally:
            self._waiting.discard(call)

    def stop(self) -> None:
        """Give up all calls, and every call that begins later."""
        self.is_over = True
        self._over.set()
        for call in self.calls | self._waiting:
            call.stop()

    def forgive(self, provider: str) -> None:
        for call in self._waiting.copy():
            call.forgiven(provider)

    def sleep(self, seconds: float) -> bool:
        """Wait; false when `stop` ended the wait."""
        return not self._over.wait(seconds)
