"""Many calls at once: requests go to an executor, outcomes come back as they finish."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from providerhub._values import Completion
from providerhub._values.errors import InvalidRequestError
from providerhub._values.value import Value

if TYPE_CHECKING:  # these and `queue` cost as much to import as the rest of a small program; who makes one call needs none
    from concurrent.futures import Executor, Future

Complete = Callable[..., Completion]
"""`Hub.complete` without a stream; given a `Running` first."""


class Stoppable(Protocol):
    """A call under way."""

    def stop(self) -> None:
        """Give it up, from any thread."""
        ...  # pragma: no cover -- a protocol's method is never run


class Running:
    """The calls under way in this process, so that they can be given up. Another process gets an empty one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[Stoppable] = set()
        self._over = False

    def __reduce__(self) -> tuple[type[Running], tuple[()]]:
        return Running, ()

    @contextlib.contextmanager
    def holding(self, call: Stoppable) -> Iterator[None]:
        """Keep a call while it runs."""
        with self._lock:
            self._calls.add(call)
        if self._over:
            call.stop()
        try:
            yield
        finally:
            with self._lock:
                self._calls.discard(call)

    def stop(self) -> None:
        """Give all of them up, and whatever begins later."""
        self._over = True
        with self._lock:
            calls = tuple(self._calls)
        for call in calls:
            call.stop()


@attrs.frozen(eq=False, repr=False)
class Outcome(Value):
    """How one of many calls ended.

    Args:
        index: The request's place in the input, from 0.
        completion: The answer, or `None` where there is an error.
        error: What the call raised, or `None` where there is an answer.

    Raises:
        ValueError: Both are given, or neither.
    """

    index: int
    completion: Completion | None = None
    error: Exception | None = None

    def __attrs_post_init__(self) -> None:
        if (self.completion is None) is (self.error is None):
            msg = "an outcome has either a completion or an error"
            raise ValueError(msg)

    def unwrap(self) -> Completion:
        """The answer.

        Raises:
            Exception: The call's error, where it has one.
        """
        if self.error is not None:
            raise self.error
        assert self.completion is not None  # noqa: S101 -- one of the two is there
        return self.completion


def complete_many_by(
    complete: Complete, requests: Iterable[Mapping[str, Any]], *, concurrency: int, executor: Executor | None
) -> Generator[Outcome, None, None]:
    """Make many calls; described at `Hub.complete_many`.

    Args:
        complete: Makes one call. It must pickle where the executor needs that.
        requests: Keywords of `complete`, a mapping for each call.
        concurrency: The most requests that are taken from the input and not yet handed over.
        executor: Where the calls run; `None` for threads of one's own.

    Returns:
        The outcomes as they come.

    Raises:
        InvalidRequestError: An argument has the wrong shape; nothing was taken.
    """
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        msg = f"concurrency must be a whole number, 1 or more, not {concurrency!r}"
        raise InvalidRequestError(msg)
    if isinstance(requests, Mapping | str | bytes) or not isinstance(requests, Iterable):
        msg = f"requests must be an iterable of mappings such as {{'model': ..., 'messages': ...}}, not {type(requests).__name__}"
        raise InvalidRequestError(msg)
    if executor is not None and not callable(getattr(executor, "submit", None)):
        msg = f"executor must be a concurrent.futures.Executor, not {type(executor).__name__}"
        raise InvalidRequestError(msg)
    return _outcomes(complete, iter(requests), concurrency, executor)


def _outcomes(
    complete: Complete, requests: Iterator[Mapping[str, Any]], concurrency: int, executor: Executor | None
) -> Generator[Outcome, None, None]:
    """Take what there is room for, hand over what has finished; at the end, whatever the end, nothing is left behind."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 -- see above

    pool = executor if executor is not None else ThreadPoolExecutor(concurrency, thread_name_prefix="providerhub-many")
    window = _Window(complete, pool)
    end: BaseException | None = None
    try:
        while end is None or window.pending:
            if end is None and len(window.pending) < concurrency and not window.has_finished():
                end = window.take(requests)
            else:
                yield window.finished()
        if not isinstance(end, StopIteration):
            raise end
    finally:
        window.cancel()
        if executor is None:
            pool.shutdown(cancel_futures=True)


class _Window:
    """The requests that have been taken and not yet handed over.

    Args:
        complete: Makes one call.
        pool: Where.
    """

    def __init__(self, complete: Complete, pool: Executor) -> None:
        from queue import SimpleQueue  # noqa: PLC0415 -- see above

        self._complete = complete
        self._running = Running()
        self._pool = pool
        self._taken = 0
        self._finished: SimpleQueue[Future[Completion]] = SimpleQueue()
        self.pending: dict[Future[Completion], int] = {}

    def take(self, requests: Iterator[Mapping[str, Any]]) -> Exception | None:
        """Take one request and begin its call.

        Returns:
            What ended the input (`StopIteration` or its own error), or the executor's refusal; `None` to go on.
        """
        try:
            request = next(requests)
        except Exception as error:  # noqa: BLE001 -- raised again as soon as all that has been taken is handed over
            return error
        index, self._taken = self._taken, self._taken + 1
        refusal: Exception | None = None
        try:
            future = self._pool.submit(_call, self._complete, self._running, index, request)
        except Exception as error:  # noqa: BLE001 -- the same; and this request must not be lost
            refusal, future = error, _failed(error)
        self.pending[future] = index
        future.add_done_callback(self._finished.put)
        return refusal

    def has_finished(self) -> bool:
        """Whether `finished` would not wait."""
        return not self._finished.empty()

    def finished(self) -> Outcome:
        """Wait for a call to finish.

        Raises:
            BaseException: It ended in what is no `Exception`, such as `KeyboardInterrupt`: not an outcome, but an end.
        """
        future = self._finished.get()
        index = self.pending.pop(future)
        error: BaseException | None
        try:
            error = future.exception()
        except Exception as cancelled:  # noqa: BLE001 -- the executor was shut down before this call began
            error = cancelled
        if error is None:
            return Outcome(index, future.result())
        if isinstance(error, Exception):
            return Outcome(index, error=error)
        raise error

    def cancel(self) -> None:
        """Give up whatever has not begun, and calls under way."""
        for future in self.pending:
            future.cancel()
        self._running.stop()


def _failed(error: Exception) -> Future[Completion]:
    from concurrent.futures import Future  # noqa: PLC0415 -- see above

    future: Future[Completion] = Future()
    future.set_exception(error)
    return future


def _call(complete: Complete, running: Running, index: int, request: Mapping[str, Any]) -> Completion:
    """Make one call, in a thread or process of the executor.

    Raises:
        InvalidRequestError: The request is no mapping of `complete`'s keywords, or asks for a stream.
        Exception: Whatever `complete` raises.
    """
    if not isinstance(request, Mapping) or not all(isinstance(name, str) for name in request):
        msg = f"requests[{index}] must be a mapping such as {{'model': ..., 'messages': ...}}, not {type(request).__name__}"
        raise InvalidRequestError(msg)
    missing = [name for name in ("model", "messages") if name not in request]
    if missing:
        msg = f"requests[{index}] lacks {' and '.join(map(repr, missing))}"
        raise InvalidRequestError(msg)
    if request.get("stream", False) is not False:
        msg = f"requests[{index}] asks for a stream; many calls give whole answers only, so leave 'stream' out"
        raise InvalidRequestError(msg)
    return complete(running, **{name: value for name, value in request.items() if name != "stream"})
