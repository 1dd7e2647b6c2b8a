"""Callers that never hang: each call runs in a separate thread or event loop, and each wait has a limit.

Synchronous and asynchronous calls have one interface, so that each check is written once.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent import futures
from typing import Any, Protocol, TypeVar

import attrs

from providerhub import AsyncStream, Completion, Event, Hub, Model, Stream
from providerhub_conformance._kit.outcome import CheckFailed

T = TypeVar("T")
_LOOKS = 20
_LOOK = 0.001
"""Seconds between two looks at a thread."""


def settle(future: futures.Future[T], patience: float, what: str) -> T:
    """Wait for a call.

    Args:
        future: The running call.
        patience: The longest wait, in seconds.
        what: The name of the call, for the message.

    Returns:
        The result of the call.

    Raises:
        CheckFailed: The call did not end in time.
    """
    # Not `result(timeout)`: the call's own error may be a TimeoutError.
    done, _ = futures.wait([future], patience)
    if not done:
        raise CheckFailed(f"{what} did not end within {patience:g} s")
    return future.result()


class Reading(Protocol):
    """A stream that a check reads."""

    @property
    def completion(self) -> Completion:
        """The answer so far."""
        ...

    def begin_next(self) -> futures.Future[Event | None]:
        """Ask for the next event without waiting; `None` at the end."""
        ...

    def next(self) -> Event | None:
        """Wait for the next event; `None` at the end."""
        ...

    def rest(self) -> list[Event]:
        """Wait for all remaining events."""
        ...

    def close(self) -> None:
        """Close the stream from this thread, also while another thread reads it."""
        ...

    def cancel(self, pending: futures.Future[Event | None]) -> None:
        """Cancel a running read in the way of this kind of caller, without waiting for its end."""
        ...

    def called_off(self, patience: float) -> bool:
        """Wait for the end of a cancelled read; return whether it ended as cancelled."""
        ...


class Client(Protocol):
    """A caller of the provider.

    Attributes:
        hub: The hub that it calls.
    """

    hub: Hub

    def start(self, *, stream: bool, **knobs: Any) -> futures.Future[Any]:
        """Begin a call without waiting."""
        ...

    def complete(self, messages: Any = ..., **knobs: Any) -> Completion:
        """Call without streaming."""
        ...

    def read(self, messages: Any = ..., **knobs: Any) -> Reading:
        """Call with streaming. Returns after the first content."""
        ...

    def close(self) -> None:
        """End the thread or loop."""
        ...


class Worker:
    """One daemon thread that runs calls one by one. A provider that hangs does not keep the process alive."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], futures.Future[Any]] | None] = queue.SimpleQueue()
        self._busy = False
        self._pause = threading.Event()  # never set
        self._thread = threading.Thread(target=self._work, name="conformance-caller", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T]) -> futures.Future[T]:
        """Run a function in the thread.

        Args:
            job: The function.

        Returns:
            The future of its result.
        """
        future: futures.Future[T] = futures.Future()
        self._jobs.put((job, future))
        return future

    def close(self, patience: float) -> None:
        """End the thread after its last job.

        Args:
            patience: The longest wait, in seconds.
        """
        self._jobs.put(None)
        self._thread.join(patience)

    def wait_blocked(self, patience: float) -> None:
        """Wait until the thread stands still. There is no event for a thread that waits for a socket.

        Args:
            patience: The longest wait, in seconds.
        """
        deadline = time.monotonic() + patience
        place, looks = None, 0
        while looks < _LOOKS and time.monotonic() < deadline:
            frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001 -- the documented way to look at a thread
            found = (id(frame), frame.f_lasti) if frame is not None else None
            # Only inside a job: between two jobs, the thread also stands still.
            looks = looks + 1 if found == place and self._busy else 0
            place = found
            self._pause.wait(_LOOK)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            self._busy = True
            try:
                result = job()
            except BaseException as error:  # raised again in the waiting thread
                self._busy = False
                future.set_exception(error)
            else:
                self._busy = False
                future.set_result(result)
                del result
            del job, future, item


@attrs.define
class SyncReading:
    """See `Reading`."""

    stream: Stream
    worker: Worker
    patience: float
    _events: Any = None

    @property
    def completion(self) -> Completion:
        """See `Reading`."""
        return self.stream.completion

    def begin_next(self) -> futures.Future[Event | None]:
        """See `Reading`."""
        self._events = self._events or self.stream.events()
        return self.worker.submit(lambda: next(self._events, None))

    def next(self) -> Event | None:
        """See `Reading`."""
        return settle(self.begin_next(), self.patience, "waiting for the next piece of the stream")

    def rest(self) -> list[Event]:
        """See `Reading`."""
        self._events = self._events or self.stream.events()
        return settle(self.worker.submit(lambda: list(self._events)), self.patience, "reading the stream to its end")

    def close(self) -> None:
        """See `Reading`."""
        self.stream.close()

    def cancel(self, pending: futures.Future[Event | None]) -> None:  # noqa: ARG002 -- the pending read is the job of the one thread
        """Close the stream while another thread waits in it."""
        self.worker.wait_blocked(self.patience)
        self.stream.close()

    def called_off(self, patience: float) -> bool:  # noqa: ARG002 -- a thread cannot be cancelled
        """See `Reading`."""
        return True


class SyncClient:
    """Calls `Hub.complete` from a thread.

    Args:
        hub: The hub to call.
        model: The model to ask for.
        patience: The longest wait for one step, in seconds.
    """

    def __init__(self, hub: Hub, model: Model, patience: float) -> None:
        self.hub = hub
        self._model = model
        self._patience = patience
        self._worker = Worker()

    def start(self, *, stream: bool, messages: Any = "Hello", **knobs: Any) -> futures.Future[Any]:
        """See `Client`."""
        return self._worker.submit(lambda: self.hub.complete(self._model, messages, stream=stream, **knobs))

    def complete(self, messages: Any = "Hello", **knobs: Any) -> Completion:
        """See `Client`."""
        found: Completion = settle(self.start(stream=False, messages=messages, **knobs), self._patience, "the call")
        return found

    def read(self, messages: Any = "Hello", **knobs: Any) -> Reading:
        """See `Client`."""
        stream = settle(self.start(stream=True, messages=messages, **knobs), self._patience, "the streaming call")
        return SyncReading(stream, self._worker, self._patience)

    def close(self) -> None:
        """See `Client`."""
        self._worker.close(self._patience)


@attrs.define
class AsyncReading:
    """See `Reading`."""

    stream: AsyncStream
    client: AsyncClient
    patience: float
    started: threading.Event = attrs.field(factory=threading.Event)
    _ended: threading.Event = attrs.field(factory=threading.Event)
    _cancelled: bool = False
    _events: Any = None

    @property
    def completion(self) -> Completion:
        """See `Reading`."""
        return self.stream.completion

    def begin_next(self) -> futures.Future[Event | None]:
        """See `Reading`."""
        self.started.clear()
        return self.client.submit(self._next())

    def next(self) -> Event | None:
        """See `Reading`."""
        return settle(self.begin_next(), self.patience, "waiting for the next piece of the asynchronous stream")

    def rest(self) -> list[Event]:
        """See `Reading`."""
        return settle(self.client.submit(self._rest()), self.patience, "reading the asynchronous stream to its end")

    def close(self) -> None:
        """See `Reading`."""
        settle(self.client.submit(self.stream.aclose()), self.patience, "closing the asynchronous stream")

    def cancel(self, pending: futures.Future[Event | None]) -> None:
        """Cancel the waiting task."""
        self.started.wait(self.patience)
        # The loop runs one task at a time: when this task has run, the other task is waiting.
        settle(self.client.submit(_nothing()), self.patience, "the event loop")
        pending.cancel()

    def called_off(self, patience: float) -> bool:
        """Wait for the end of the read; return whether the task raised `CancelledError`."""
        self._ended.wait(patience)
        return self._cancelled

    async def _next(self) -> Event | None:
        if self._events is None:
            self._events = self.stream.events()
        self._ended.clear()
        self.started.set()
        try:
            found: Event | None = await anext(self._events, None)
        except asyncio.CancelledError:
            self._cancelled = True
            raise
        finally:
            self._ended.set()
        return found

    async def _rest(self) -> list[Event]:
        if self._events is None:
            self._events = self.stream.events()
        return [event async for event in self._events]


class AsyncClient:
    """Calls `Hub.acomplete` in an event loop that runs in a separate thread.

    Args:
        hub: The hub to call.
        model: The model to ask for.
        patience: The longest wait for one step, in seconds.
    """

    def __init__(self, hub: Hub, model: Model, patience: float) -> None:
        self.hub = hub
        self._model = model
        self._patience = patience
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="conformance-loop", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> futures.Future[T]:
        """Run a coroutine in the loop.

        Args:
            work: The coroutine.

        Returns:
            The future of its result.
        """
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def start(self, *, stream: bool, messages: Any = "Hello", **knobs: Any) -> futures.Future[Any]:
        """See `Client`."""
        return self.submit(self.hub.acomplete(self._model, messages, stream=stream, **knobs))

    def complete(self, messages: Any = "Hello", **knobs: Any) -> Completion:
        """See `Client`."""
        found: Completion = settle(self.start(stream=False, messages=messages, **knobs), self._patience, "the asynchronous call")
        return found

    def read(self, messages: Any = "Hello", **knobs: Any) -> Reading:
        """See `Client`."""
        future = self.start(stream=True, messages=messages, **knobs)
        return AsyncReading(settle(future, self._patience, "the asynchronous streaming call"), self, self._patience)

    def close(self) -> None:
        """See `Client`."""
        if self._loop.is_closed():
            return
        settle_quietly(self.submit(self._wind_up()), self._patience)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(self._patience)
        if not self._thread.is_alive():
            self._loop.close()

    async def _wind_up(self) -> None:
        """End the tasks, like `asyncio.run`."""
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.hub.aclose()
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()


async def _nothing() -> None:
    """Let the loop run once."""


def settle_quietly(future: futures.Future[Any], patience: float) -> None:
    """Wait for a call and ignore its result.

    Args:
        future: The running call.
        patience: The longest wait, in seconds.
    """
    futures.wait([future], patience)
    if future.done() and not future.cancelled():
        future.exception()
