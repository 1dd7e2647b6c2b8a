"""A synchronous iterator, run in a thread of its own and read asynchronously.

The thread is at most `LIMIT` pieces ahead of its reader, so a slow reader slows the sender down. The event loop is woken
only when the reader waits, and the reader takes all that is there at once: a piece costs no change of threads as long as
the reader is the slower one. While it does not wait, the provider's idle clocks stand: what is read ahead, nobody asked for.
"""

from __future__ import annotations

import contextvars
import itertools
import math
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Self

from providerhub._calling.driver import close_quietly
from providerhub._values.provider import CallContext, Piece

if TYPE_CHECKING:  # importing it takes a fifth of the time that a whole program may take to start
    from asyncio import AbstractEventLoop, Future

LIMIT = 64
"""Pieces that may wait for their reader."""

_numbers = itertools.count(1)


class Pump(AsyncIterator[Piece]):
    """One thread that works one iterator off. Everything that the iterator does happens in that thread, its closing too.

    Args:
        begin: Makes the iterator.
        loop: The running event loop.
        call: Is told when the reader waits, and when it does not.
        limit: How many pieces may wait.
    """

    __slots__ = (
        "_batch", "_begin", "_call", "_changed", "_error", "_finished", "_limit", "_lock", "_loop", "_over", "_queue", "_stopped",
        "_thread", "_waiter",
    )  # fmt: skip

    def __init__(
        self, begin: Callable[[], Iterator[Piece]], loop: AbstractEventLoop, call: CallContext, *, limit: int = LIMIT
    ) -> None:
        self._begin = begin
        self._loop = loop
        self._call = call
        call.waiting_since = math.inf
        self._limit = limit
        # Re-entrant: a collection of garbage may call `stop` at any line of this thread's own. What is entered is the lock
        # itself: whoever Ctrl-C interrupts while entering a `Condition` may leave it locked for ever.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._queue: deque[Piece] = deque()
        self._batch: deque[Piece] = deque()
        self._error: BaseException | None = None
        self._over = False
        self._stopped = False
        self._waiter: Future[None] | None = None
        self._finished: Future[None] = loop.create_future()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._run,),
            name=f"providerhub-stream-{next(_numbers)}",
            daemon=True,
        )
        self._thread.start()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        if not self._batch and not await self._more():
            raise StopAsyncIteration
        return self._batch.popleft()

    def stop(self) -> None:
        """Ask the thread to end; what was not read is lost. From any thread; does not wait."""
        with self._lock:
            self._stopped = True
            self._batch.clear()
            self._queue.clear()
            self._changed.notify_all()
            waiter, self._waiter = self._waiter, None
        self._resolve(waiter)

    async def joined(self, seconds: float | None = None) -> bool:
        """Wait for the thread's end, without holding the event loop up.

        Args:
            seconds: How long at most; `None` for as long as it takes.

        Returns:
            Whether it has ended.
        """
        if not self._finished.done():
            import asyncio  # noqa: PLC0415 -- slow to import, and imported already by whoever has a running loop

            await asyncio.wait([self._finished], timeout=seconds)
        if not self._finished.done():
            return False
        self._thread.join()  # it has nothing left to do but to return
        return True

    async def _more(self) -> bool:
        """Take all that is there, after waiting for it; false at the end."""
        while True:
            with self._lock:
                if self._queue:
                    self._batch, self._queue = self._queue, self._batch
                    self._changed.notify_all()
                    return True
                if self._over or self._stopped:
                    break
                waiter = self._waiter = self._loop.create_future()
                self._call.waiting_since = self._call.clock()
            await waiter
        error, self._error = self._error, None
        if error is not None and not self._stopped:
            # Raised here, it would pass for the end.
            raise RuntimeError("the plugin raised StopAsyncIteration") if isinstance(error, StopAsyncIteration) else error
        return False

    def _run(self) -> None:
        pieces: Iterator[Piece] = iter(())
        error: BaseException | None = None
        try:
            pieces = self._begin()
            for piece in pieces:
                if not self._put(piece):
                    break
        except BaseException as raised:  # noqa: BLE001 -- raised in the reader instead
            error = raised
        finally:
            close_quietly(getattr(pieces, "close", None))
            self._finish(error)

    def _put(self, piece: Piece) -> bool:
        with self._lock:
            while len(self._queue) >= self._limit and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return False
            self._queue.append(piece)
            waiter, self._waiter = self._waiter, None
            if waiter is not None:
                # From here on it is the reader's time: its loop may be busy with something else.
                self._call.waiting_since = math.inf
        if waiter is not None:
            self._resolve(waiter)
        return not self._stopped

    def _finish(self, error: BaseException | None) -> None:
        with self._lock:
            self._over, self._error = True, error
            waiter, self._waiter = self._waiter, None
        self._resolve(waiter)
        self._resolve(self._finished)

    def _resolve(self, future: Future[None] | None) -> None:
        if future is None:
            return
        try:
            self._loop.call_soon_threadsafe(_set, future)
        except RuntimeError:  # the loop is closed: nobody will read on
            self._stopped = True


def _set(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)
