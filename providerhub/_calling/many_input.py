"""The input of many calls: it is asked for one item at a time, and may take its time."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple


class Taken(NamedTuple):
    """An item of the input."""

    item: Any


class Ended(NamedTuple):
    """The end of the input, with the exception that it raised."""

    error: Exception | None


Put = Callable[[Taken | Ended], object]
"""Called with each answer of the input, from any thread."""


class ReadyInput:
    """A list or tuple, which never blocks.

    Args:
        items: The list or tuple that is read.
        put: Called with each answer.
    """

    def __init__(self, items: list[Any] | tuple[Any, ...], put: Put) -> None:
        self._items = iter(items)
        self._put = put

    def ask(self) -> None:
        """Give one item, or the end."""
        self._put(_taken(self._items))

    def stop(self) -> bool:
        """Return that nothing blocks."""
        return False


class ThreadInput:
    """Any other iterable, which is read in a thread of its own, one item for each `ask`.

    Args:
        items: The iterable that a thread reads.
        put: Called with each answer, in the thread.
        context: The context of the caller; the iterable sees a copy.
        grace: Seconds that `stop` waits for an input that is giving an item at that moment.
    """

    def __init__(self, items: Iterable[Any], put: Put, context: contextvars.Context, *, grace: float = 0.1) -> None:
        self._grace = grace
        self._items = items
        self._put = put
        self._context = context.copy()
        self._asked = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._stopped = self._busy = False
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Ask for one item. Does not wait for it."""
        if self._thread is None:
            # A daemon: an input that gives nothing must not keep the process from its end.
            self._thread = threading.Thread(
                target=self._context.run, args=(self._run,), name="providerhub-many-input", daemon=True
            )
            self._thread.start()
        self._asked.release()

    def stop(self) -> bool:
        """Ask for nothing more, and wait for the thread, unless the input blocks it.

        Returns:
            Whether the input blocks it.
        """
        with self._lock:
            self._stopped = True
            blocked = self._busy
        self._asked.release()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(self._grace if blocked else None)
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        items: Iterator[Any] | None = None
        answer: Taken | Ended | None = None
        while not isinstance(answer, Ended):
            self._asked.acquire()
            with self._lock:
                if self._stopped:
                    return
                self._busy = True
            if items is None:
                items = _begun(self._items)
            answer = _taken(items)
            with self._lock:
                self._busy = False
            self._put(answer)


def _begun(items: Iterable[Any]) -> Iterator[Any]:
    """An iterator; an exception of `__iter__` is raised by its first step."""
    yield from items


def _taken(items: Iterator[Any]) -> Taken | Ended:
    try:
        return Taken(next(items))
    except StopIteration:
        return Ended(None)
    except Exception as error:  # raised in the caller, after the outcomes of all items that were taken
        return Ended(error)
    except BaseException as error:  # SystemExit in a thread would be lost
        return Ended(RuntimeError(f"the input raised {type(error).__name__}: {error}").with_traceback(error.__traceback__))
