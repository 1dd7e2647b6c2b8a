"""Threads that an event loop starts."""

from __future__ import annotations

import threading
from collections.abc import Callable


class _Begun(threading.Event):
    """The event for which `Thread.start` waits, in all versions of Python; not this one."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 -- as in the base class
        return True

    late = threading.Event.wait


class PromptThread(threading.Thread):
    """A daemon thread whose `start` does not wait for the thread to begin.

    `Thread.start` waits until the new thread has the interpreter. With many threads that takes seconds, in which an event loop
    would stand still.
    """

    def __init__(self, target: Callable[[], object], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._started = _Begun()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end, as `Thread.join` does, also of a thread that has yet to begin."""
        self._started.late(timeout)
        super().join(timeout)
