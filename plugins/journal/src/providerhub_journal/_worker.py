"""A thread for work that calls must not wait for, and the workers that the hubs of this process share."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

TOGETHER = 1000  # the most items of one piece of work
RETRY = 1.0  # seconds between two tries of work that failed
AT_EXIT = 5.0  # seconds that the end of the program waits for the last items

Item = TypeVar("Item")
AnyWorker = TypeVar("AnyWorker", bound="Worker[Any]")

_shared: dict[tuple[Any, ...], Worker[Any]] = {}
_lock = threading.Lock()
_held: list[list[Worker[Any]]] = []
_hooks: list[Callable[[], None]] = []


def guard_forks() -> None:
    """Let a fork wait for the work in hand, from now on.

    A library that another thread is in the middle of importing or using, such as SQLite, would never work in the child.
    """
    # A fork holds the lock of `logging`, which the work may need, from that module's hook on; the last hook runs first.
    import logging  # noqa: F401 -- slow to import

    if not _hooks and hasattr(os, "register_at_fork"):
        _hooks.append(_forks)
        os.register_at_fork(before=_forks, after_in_parent=_has_forked)


def shared(kind: type[AnyWorker], *arguments: Hashable) -> AnyWorker:
    """This process's worker for some arguments, which all hubs share."""
    with _lock:
        return _shared.setdefault((kind, *arguments), kind(*arguments))  # type: ignore[return-value]


class Worker(Generic[Item]):
    """Takes items from calls without blocking them, and works on them in a separate thread. Thread-safe."""

    gather = 0.0
    """Seconds for which items are gathered, to be worked on together."""

    def __init__(self) -> None:
        self._logged: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        """Begin without items and without a thread, also in a forked child: the parent's thread does not run there."""
        # Re-entrant: the garbage collector may end a stream, which puts an item, in a thread that holds the lock.
        self._guard = threading.RLock()
        self._queue: queue.SimpleQueue[Item | threading.Event] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._at_work = threading.RLock()

    def _work(self, items: list[Item]) -> bool:
        """Work on items.

        Returns:
            Whether all is done. Otherwise the method is called again after `RETRY` seconds at the latest.
        """
        raise NotImplementedError

    def flush(self, seconds: float = AT_EXIT) -> bool:
        """Wait until the items so far are done, or one try of them has failed.

        Args:
            seconds: The longest wait.

        Returns:
            Whether this ended in time.
        """
        if self._thread is None:
            return True
        done = threading.Event()
        self._hurry.set()
        self._queue.put(done)
        return done.wait(seconds)

    def close(self) -> None:
        """Finish the items so far, and close the connections. A later item opens others."""
        self.flush()

    def _add(self, item: Item) -> None:
        self._queue.put(item)
        if self._thread is None:
            with self._guard:
                if self._thread is None:
                    if util := sys.modules.get("multiprocessing.util"):  # its forked processes end without `atexit`
                        util.Finalize(None, self.close, exitpriority=1)
                    self._thread = threading.Thread(target=self._run, name="providerhub-journal", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        is_done = True
        while True:
            items = []
            with contextlib.suppress(queue.Empty):
                items = [self._queue.get(timeout=None if is_done else RETRY)]
            if self.gather and self._queue.qsize() < TOGETHER:
                self._hurry.wait(self.gather)
                self._hurry.clear()
            items += [self._queue.get() for _ in range(min(self._queue.qsize(), TOGETHER - 1))]
            with self._at_work:
                is_done = self._work([item for item in items if not isinstance(item, threading.Event)])
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()

    def _once(self, kind: str, text: str) -> None:
        """Log a problem, unless one of its kind has been logged."""
        if kind not in self._logged:
            self._logged.add(kind)
            import logging  # slow to import; few programs log a problem

            logging.getLogger("providerhub.journal").warning("%s", text)


def reason(error: BaseException) -> str:
    """The words of an error on one line, without the statement and its values."""
    found = getattr(error, "orig", None) or error
    return f"{type(found).__name__}: {' '.join(str(found).split())}"


def flush(seconds: float = AT_EXIT) -> bool:
    """Wait until all calls of this process so far are written, or one try to write them has failed.

    Args:
        seconds: The longest wait for each database.

    Returns:
        Whether this ended in time.
    """
    done = [worker.flush(seconds) for worker in tuple(_shared.values())]  # flush all workers, even after a late worker
    return all(done)


def _finish() -> None:
    """The end of the program."""
    for worker in tuple(_shared.values()):
        worker.close()


def _forks() -> None:
    workers = tuple(_shared.values())
    _held.append([worker for worker in workers if worker._at_work.acquire(timeout=AT_EXIT)])  # noqa: SLF001 -- the same module


def _has_forked() -> None:
    for worker in _held.pop():
        worker._at_work.release()  # noqa: SLF001 -- the same module


def _forked() -> None:
    global _lock  # noqa: PLW0603 -- another thread of the parent may have held it
    _lock = threading.Lock()
    _held.clear()
    for worker in _shared.values():
        worker._begin()  # noqa: SLF001 -- the same module


atexit.register(_finish)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
