"""Many calls at once: an executor makes them, and their outcomes are yielded as they end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from providerhub._values import Completion
from providerhub._values.checks import COUNT
from providerhub._values.errors import InvalidRequestError
from providerhub._values.value import Value

if TYPE_CHECKING:  # these and `queue` cost as much to import as the rest of a small program, and a single call needs none
    from concurrent.futures import Executor, Future

Complete = Callable[..., Completion]
"""`Hub.complete` without a stream; its first argument is a `Running`."""


class Stoppable(Protocol):
    """A call under way."""

    def stop(self) -> None:
        """Give the call up. May be called from any thread."""


class Running:
    """The calls under way in this process, so that they can be given up. It pickles as an empty one."""

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
        """Give up all calls, and every call that begins later."""
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
        completion: The answer; `None` when the call failed.
        error: The exception of the call; `None` when it succeeded.

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
        """Return the answer.

        Raises:
            Exception: The exception of the call, when it failed.
        """
        if self.error is not None:
            raise self.error
        return self.completion  # type: ignore[return-value]  # one of the two is there


def complete_many_by(
    complete: Complete, requests: Iterable[Mapping[str, Any]], *, concurrency: int, executor: Executor | None
) -> Generator[Outcome, None, None]:
    """Check the arguments of `Hub.complete_many` and return its generator.

    Args:
        complete: Makes one call. It must pickle where the executor needs that.
        requests: One mapping of `complete`'s arguments for each call.
        concurrency: The largest number of requests that are taken and whose outcomes are not yet yielded; 1 or more.
        executor: Makes the calls; `None` for threads that end with the last outcome.

    Raises:
        InvalidRequestError: An argument has the wrong shape. Nothing was taken from the input.
    """
    COUNT.check(concurrency, "concurrency", InvalidRequestError)
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
    """Take requests while there is room, and yield outcomes. Every way out cancels the rest and ends the threads."""
    from concurrent.futures import ThreadPoolExecutor  # see above

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
    """The requests that are taken and whose outcomes are not yet yielded.

    Args:
        complete: Makes one call.
        pool: The executor.
    """

    def __init__(self, complete: Complete, pool: Executor) -> None:
        from queue import SimpleQueue  # see above

        self._complete = complete
        self._running = Running()
        self._pool = pool
        self._taken = 0
        self._finished: SimpleQueue[Future[Completion]] = SimpleQueue()
        self.pending: dict[Future[Completion], int] = {}

    def take(self, requests: Iterator[Mapping[str, Any]]) -> Exception | None:
        """Take one request and begin its call.

        Returns:
            The exception that ended the input (`StopIteration` at its end), or the executor's refusal; `None` to go on.
        """
        try:
            request = next(requests)
        except Exception as error:  # raised again after the outcomes of all requests that were taken
            return error
        index, self._taken = self._taken, self._taken + 1
        refusal: Exception | None = None
        try:
            future = self._pool.submit(_call, self._complete, self._running, index, request)
        except Exception as error:  # the same; and this request must not be lost
            refusal, future = error, _failed(error)
        self.pending[future] = index
        future.add_done_callback(self._finished.put)
        return refusal

    def has_finished(self) -> bool:
        """Whether `finished` would not wait."""
        return not self._finished.empty()

    def finished(self) -> Outcome:
        """Wait for a call to end, and return its outcome.

        Raises:
            BaseException: The call ended in an exception that is not an `Exception`, such as `KeyboardInterrupt`.
        """
        future = self._finished.get()
        index = self.pending.pop(future)
        error: BaseException | None
        try:
            error = future.exception()
        except Exception as cancelled:  # the executor was shut down before this call began
            error = cancelled
        if error is None:
            return Outcome(index, future.result())
        if isinstance(error, Exception):
            return Outcome(index, error=error)
        raise error

    def cancel(self) -> None:
        """Cancel the calls that have not begun, and give up those under way."""
        for future in self.pending:
            future.cancel()
        self._running.stop()


def _failed(error: Exception) -> Future[Completion]:
    from concurrent.futures import Future  # see above

    future: Future[Completion] = Future()
    future.set_exception(error)
    return future


def _call(complete: Complete, running: Running, index: int, request: Mapping[str, Any]) -> Completion:
    """Make one call, in a thread or process of the executor.

    Raises:
        InvalidRequestError: The request is not a mapping of `complete`'s arguments, or asks for a stream.
        Exception: The exception that `complete` raises.
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
