"""The threads of many calls: the threads that make calls, and the thread that reads the input.

The input is read one item at a time, and may block. Each class calls `taken` with each item, and `ended` at the end, with the
input's exception.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import Any

from providerhub._threads import PromptThread, has_begun

Report = Callable[[Any], object]

GRACE = 1.0  # seconds that the end of many calls waits for plugins that cannot be stopped


class Threads(Executor):
    """A limited number of daemon threads. A silent service does not delay the end of the interpreter."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[PromptThread] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._work.put((future, lambda: function(*arguments, **named)))
        if not self._idle.acquire(blocking=False):
            self._begin()
        return future

    def grow(self) -> None:
        if not self._threads:
            self._begin()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 -- as in the base class
        """End the threads, and wait `GRACE` for the running calls."""
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
            if has_begun(thread):  # without a further thread, no call is lost
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
            del future  # the error keeps this frame, which would keep the future
        else:
            future.set_result(result)


class ReadyInput:
    """A list or tuple, which never blocks: `ask` reads it."""

    def __init__(self, items: Iterable[Any], taken: Report, ended: Report) -> None:
        self._items, self._taken, self._ended = iter(items), taken, ended

    def ask(self) -> bool:
        for item in self._items:
            self._taken(item)
            return True
        self._ended(None)
        return True

    def stop(self) -> bool:
        return False


class ThreadInput:
    """Any other iterable, read by a thread in a copy of the context. `stop` waits `grace` seconds for an item."""

    def __init__(self, items: Iterable[Any], taken: Report, ended: Report, context: Context, *, grace: float = 0.1) -> None:
        self._items, self._taken, self._ended, self._grace = items, taken, ended, grace
        self._asked = threading.Semaphore(0)
        self._stopped = self._busy = False
        # A daemon: an input that blocks must not keep the process from its end.
        run = context.copy().run
        self._thread = threading.Thread(target=run, args=(self._run,), name="providerhub-many-input", daemon=True)

    def ask(self) -> bool:
        """Ask for one item, without waiting; false if the system cannot start a thread."""
        if self._thread.ident is None and not has_begun(self._thread):
            return False
        self._asked.release()
        return True

    def stop(self) -> bool:
        """Ask for nothing more, and wait for the thread, unless the input blocks. Returns whether the input blocks."""
        self._stopped = True
        self._asked.release()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(self._grace if self._busy else None)
        return self._thread.is_alive()

    def _may_go_on(self) -> bool:
        self._busy = False
        self._asked.acquire()
        self._busy = True  # before `_stopped` is read: `stop` uses the two in the other order
        self._busy = not self._stopped
        return self._busy

    def _run(self) -> None:
        error: Exception | None = None
        if not self._may_go_on():
            return
        try:
            for item in self._items:
                self._taken(item)
                if not self._may_go_on():
                    return
        except Exception as raised:  # raised in the caller, after the outcomes of all items that were taken
            error = raised
        except BaseException as raised:  # SystemExit in a thread would be lost
            error = foreign(raised)
        self._busy = False
        self._ended(error)


def foreign(raised: BaseException) -> RuntimeError:
    """The error that replaces an exception of the input that would end the process or the task."""
    return RuntimeError(f"the input raised {type(raised).__name__}: {raised}").with_traceback(raised.__traceback__)
