"""Attempts of one call side by side, in threads.

The first attempt runs in the caller's own thread. When it has had no content for its share of the time, a supervisor's thread
begins, and carries the call on: it asks the next candidate in one more thread, and waits for the first that has content.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import threading
from collections.abc import Callable, Iterator

from providerhub._calling.attempt import PullResult, RunningAttempt
from providerhub._calling.pieces import close_quietly
from providerhub._threads import PromptThread
from providerhub._values.provider import Piece
from providerhub._watchdog import Timer

_numbers = itertools.count(1)

GRACE = 1.0  # seconds that an interrupted call waits for its supervisor's thread


class Racer(RunningAttempt[Iterator[Piece], "AnyRunner"], Timer):
    """An attempt in a thread. Until it is slow it is a timer of the watchdog, with no lock and no cycle of references.

    `armed` holds the context of the call, and the function that carries it on. One thread alone can take them out, and decides
    with that whether the attempt was fast.
    """

    armed: list[tuple[contextvars.Context, Callable[[], None]]]
    supervisor: Supervisor

    def fire(self) -> bool:
        """Begin a supervisor, unless content has come; true if it has begun. Otherwise the attempt goes on alone."""
        if self.call.content_at is None:
            self.supervisor = Supervisor(self)
            thread = PromptThread(self.supervisor.run, f"providerhub-supervisor-{next(_numbers)}")
            with contextlib.suppress(RuntimeError):
                thread.start()
                return True
        return False


Ask = Callable[[Racer], PullResult]
Ended = tuple[Racer, PullResult | BaseException]


class Runner(threading.Thread):
    def __init__(self, attempt: Racer, ask: Ask, ended: Callable[[Ended], object]) -> None:
        super().__init__(name=f"providerhub-beside-{next(_numbers)}", daemon=True)
        self._attempt = attempt
        self._ask = ask
        self._ended = ended
        self._context = contextvars.copy_context()
        self._first: dict[str, str] = {}

    def run(self) -> None:
        """Pull and report. An attempt that was dropped meanwhile is closed here, in the thread where it ran."""
        result: PullResult | BaseException
        try:
            result = self._context.run(self._ask, self._attempt)
        except BaseException as error:  # raised in the thread that waits
            result = error
        if self._first.setdefault("event", "end") == "end":  # it is atomic, so the end and a drop agree which came first
            self._ended((self._attempt, result))
        else:
            close_quietly(getattr(self._attempt.pieces, "close", None))

    def drop(self) -> None:
        """Cancel the attempt. Does not wait for the thread's end."""
        self._attempt.call.cancel()
        if self._first.setdefault("event", "drop") == "end":
            close_quietly(getattr(self._attempt.pieces, "close", None))


class Supervisor:
    """The thread that carries a call on beside its first attempt, which the caller's thread pulls."""

    def __init__(self, attempt: Racer) -> None:
        self._attempt = attempt
        self._over = threading.Event()
        self._dropped = False
        self._error: BaseException | None = None

    def run(self) -> None:
        """Carry the call on, unless the first attempt has ended."""
        try:
            context, take_over = self._attempt.armed.pop()
        except IndexError:
            return
        self._attempt.runner = self
        try:
            context.run(take_over)
        except BaseException as error:  # raised in the caller's thread
            self._error = error
        finally:
            self._over.set()

    def wait(self, interrupted: Callable[[BaseException], object]) -> None:
        """Wait, in the caller's thread, for the call's commit point or end. `interrupted` gets an exception that ends this."""
        try:
            self._over.wait()
        except BaseException as error:
            interrupted(error)
            self._over.wait(GRACE)
            raise
        if self._dropped:
            close_quietly(getattr(self._attempt.pieces, "close", None))
        if self._error is not None:
            raise self._error

    def drop(self) -> None:
        """Cancel the first attempt. The caller's thread closes it."""
        self._dropped = True
        self._attempt.call.cancel()


AnyRunner = Runner | Supervisor  # the thread that pulls an attempt: one of its own, or the caller's
