"""Threads that an event loop starts, and locks that do not hold a forked process up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakSet

Renewed = TypeVar("Renewed")

_renewed: WeakSet[Any] = WeakSet()


class _Begun(threading.Event):
    """The event that `Thread.start` waits for, in all versions of Python. This event returns at once."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 -- as in the base class
        return True

    late = threading.Event.wait


class PromptThread(threading.Thread):
    """A daemon thread whose `start` does not wait until it runs: with many threads, an event loop would stand still."""

    def __init__(self, target: Callable[[], object], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._started = _Begun()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end, as `Thread.join` does, also of a thread that has yet to begin."""
        if self._started.late(timeout):
            super().join(timeout)


def has_begun(thread: threading.Thread) -> bool:
    """Start a thread; false if the system cannot start one now. Raises `RuntimeError` at the end of the program."""
    try:
        thread.start()
    except RuntimeError as error:
        refuse_at_end(error)
        return False
    return True


def refuse_at_end(error: RuntimeError) -> None:
    """Raise an error with the fix, if a thread did not start because the program ends: Python 3.12 then starts no thread."""
    if not threading.main_thread().is_alive():
        msg = "this Python starts no thread when the program ends; make the call before that, not in a function of `atexit`"
        raise RuntimeError(msg) from error


def renewed_at_fork(found: Renewed) -> Renewed:
    """Let a forked process renew a lock, or an object with `_at_fork_reinit`: the thread that holds it does not exist there."""
    _renewed.add(found)
    return found


def _renew() -> None:
    for one in tuple(_renewed):
        one._at_fork_reinit()  # noqa: SLF001 -- the name that the locks of the standard library have for it


if hasattr(os, "register_at_fork"):  # absent on Windows
    os.register_at_fork(after_in_child=_renew)
