"""A synchronous iterator that runs in a separate thread and is read asynchronously.

The thread reads at most `LIMIT` pieces ahead, so a slow reader slows the sender down. The thread wakes the event loop only
while the reader waits, and the reader takes all waiting pieces at once. So a slow reader causes no change of threads for each
piece. The provider's idle timeouts do not run while the reader does not wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import math
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Self

from providerhub._calling.pieces import close_quietly
from providerhub._threads import PromptThread
from providerhub._values.provider import CallContext, Piece

LIMIT = 64  # the most pieces that wait for their reader

_numbers = itertools.count(1)


class Pump(AsyncIterator[Piece]):
    """One thread that makes, reads and closes an iterator, `limit` pieces ahead. Sets `waiting_since` while its reader waits."""

    def __init__(
        self, begin: Callable[[], Iterator[Piece]], loop: asyncio.AbstractEventLoop, call: CallContext, *, limit: int = LIMIT
    ) -> None:
        self._begin = begin
        self._loop = loop
        self._call = call
        call.waiting_since = math.inf
        self._limit = limit
        # Re-entrant: the garbage collector may call `stop` at any line of a thread that holds the lock. The code enters the
        # lock and not the `Condition`: Ctrl-C while a thread enters a `Condition` may leave it locked for ever.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._queue: deque[Piece] = deque()
        self._batch: deque[Piece] = deque()
        self._error: BaseException | None = None
        self._over = False
        self._stopped = False
        self._waiter: asyncio.Future[None] | None = None
        self._finished: asyncio.Future[None] = loop.create_future()
        run = partial(contextvars.copy_context().run, self._run)
        self._thread = PromptThread(run, f"providerhub-stream-{next(_numbers)}")
        self._thread.start()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        if not self._batch and not await self._more():
            raise StopAsyncIteration
        return self._batch.popleft()

    def stop(self) -> None:
        """Ask the thread to end. Unread pieces are lost. May be called from any thread; does not wait."""
        with self._lock:
            self._stopped = True
            self._batch.clear()
            self._queue.clear()
            self._changed.notify_all()
            waiter, self._waiter = self._waiter, None
        self._resolve(waiter)

    async def joined(self, seconds: float | None = None) -> bool:
        """Wait for the thread's end without blocking the event loop, at most for some seconds; true if it has ended."""
        if not self._finished.done():
            if self._loop.is_closed():  # a closed loop calls nothing
                await asyncio.to_thread(self._thread.join, seconds)
                return not self._thread.is_alive()
            await asyncio.wait([self._finished], timeout=seconds)
        if not self._finished.done():
            return False
        self._thread.join()  # the thread has done its last step, so this returns at once
        return True

    async def _more(self) -> bool:
        """Wait for pieces and take all of them; false at the end."""
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
            # StopAsyncIteration, raised here, would look like the end of the answer.
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
        except BaseException as raised:  # raised in the reader
            error = raised
        finally:
            close_quietly(getattr(pieces, "close", None))
            with self._lock:
                self._over, self._error = True, error
                waiter, self._waiter = self._waiter, None
            self._resolve(waiter)
            self._resolve(self._finished)

    def _put(self, piece: Piece) -> bool:
        with self._lock:
            while len(self._queue) >= self._limit and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return False
            self._queue.append(piece)
            waiter, self._waiter = self._waiter, None
            if waiter is not None:
                # The reader has its piece. Until it waits again, the time is the consumer's.
                self._call.waiting_since = math.inf
        if waiter is not None:
            self._resolve(waiter)
        return not self._stopped

    def _resolve(self, future: asyncio.Future[None] | None) -> None:
        if future is None:
            return
        try:
            self._loop.call_soon_threadsafe(resolve, future)
        except RuntimeError:  # the loop is closed, so no reader will come
            self._stopped = True


def resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
