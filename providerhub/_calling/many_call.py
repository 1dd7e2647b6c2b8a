"""One of many calls: its checks, its further tries, and its cancellation from another thread."""

from __future__ import annotations

import contextvars
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from providerhub._calling.attempt import Running
from providerhub._calling.executors import factory_of
from providerhub._calling.many_schedule import causes, may_pass
from providerhub._calling.observers import PARENT, call_of
from providerhub._rules.policy import backoff
from providerhub._values import Completion, RetryPolicy, errors
from providerhub._values.checks import COUNT, at_least

_PASSES = at_least(0)
_NOT_REPEATED = (errors.RateLimitError, errors.DeadlineExceededError, errors.ProviderTimeoutError)
_MOST_REPEATING = 60.0  # seconds after which a further try makes no new call


class RunningMany(Running):
    """The calls of an executor. Pickles without the context of the calls, which no other process can have."""

    def __init__(self, context: contextvars.Context | None = None) -> None:
        super().__init__()
        self._context = context

    def make(self, *call: Any) -> Completion:
        """Make one call in a copy of the context. The last argument is unique, since an executor may merge equal calls."""
        call = call[:-1]
        return self._make(*call) if self._context is None else self._context.copy().run(self._make, *call)

    def _make(
        self,
        complete: Callable[..., Completion],
        index: int,
        request: Mapping[str, Any],
        again: RetryPolicy | None,
        call: str | None,
    ) -> Completion:
        """Make one call by `complete`; `again` is the policy of a further try, and `call` the identifier of the first try."""
        arguments = checked_request(index, request)
        repeats = Repeats(again, call)
        while True:
            try:
                return complete(self, **arguments)
            except Exception as error:
                seconds = repeats.after(error)
                if seconds is None or not self.sleep(seconds):
                    raise error_of_row(index, error) from error.__cause__


def check_many(requests: object, inputs: tuple[type, ...], executor: Any, *, concurrency: int, passes: int) -> None:
    COUNT.check(concurrency, "concurrency", errors.InvalidRequestError)
    _PASSES.check(passes, "passes", errors.InvalidRequestError)
    if isinstance(requests, Mapping | str | bytes) or not isinstance(requests, inputs):
        msg = f"requests must be an iterable of mappings such as {{'model': ..., 'messages': ...}}, not {type(requests).__name__}"
        raise errors.InvalidRequestError(msg)
    if isinstance(executor, str):
        factory_of(executor)
    elif executor is not None and not callable(getattr(executor, "submit", None)):
        msg = f"executor must be a concurrent.futures.Executor or a text such as 'processes:4', not {type(executor).__name__}"
        raise errors.InvalidRequestError(msg)


def checked_request(index: int, request: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `complete` in a request. Raises `InvalidRequestError` for another shape, or for a stream."""
    if not isinstance(request, Mapping) or not all(isinstance(name, str) for name in request):
        said = f"must be a mapping such as {{'model': ..., 'messages': ...}}, not {type(request).__name__}"
    elif missing := [name for name in ("model", "messages") if name not in request]:
        said = f"lacks {' and '.join(map(repr, missing))}; its keys are {', '.join(request) or 'none'}"
    elif request.get("stream", False) is not False:
        said = "asks for a stream; many calls give whole answers only, so leave 'stream' out"
    else:
        return {name: value for name, value in request.items() if name != "stream"}
    raise errors.InvalidRequestError(f"requests[{index}] {said}")


def error_of_row(index: int, error: Exception) -> Exception:
    """The error of a call for its outcome. A mistake in the request names the request."""
    if type(error) in {TypeError, errors.InvalidRequestError}:
        return type(error)(f"requests[{index}]: {error}").with_traceback(error.__traceback__)
    return error


class Repeats:
    """The calls of one further try of a request.

    A further try may use all attempts of the policy at one provider, even without a token of the retry budget. It has waited at
    the end of the queue; and if 30% of the attempts fail, a try with only one attempt would lose one row in a hundred. The first
    try, with the `policy` `None`, is one call. `call` is the identifier of the request's first call, for the records of the
    others.
    """

    def __init__(self, policy: RetryPolicy | None, call: str | None) -> None:
        PARENT.set(call)
        self._policy = policy
        self._made = 0
        self._end = time.monotonic() + _MOST_REPEATING

    def after(self, error: Exception) -> float | None:
        """The seconds to wait before the next call after the latest error; `None` when the try has failed."""
        PARENT.set(PARENT.get() or call_of(error))
        self._made += max(1, len(error.route.attempts)) if isinstance(error, errors.ProviderHubError) else 1
        policy = self._policy
        if policy is None or self._made >= policy.attempts or not may_pass(error) or time.monotonic() > self._end:
            return None
        if any(isinstance(cause, _NOT_REPEATED) for cause in causes(error)):
            return None
        return backoff(policy, self._made - 1, throttled=False, rng=random.random)
