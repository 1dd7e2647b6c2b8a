"""The many calls of one hub that are open, and the late imports of the core.

The modules of many calls, and of calls in an event loop, are imported when the first such call is made: a program that makes
one call would wait for them in vain. Of the core, only their own executors are imported late besides.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from providerhub._calling.running import Running
from providerhub._rules.clock import Clock
from providerhub._rules.policy import Rng
from providerhub._values import RetryPolicy

if TYPE_CHECKING:  # see above
    from concurrent.futures import Executor

    from providerhub._calling.async_chain import AsyncChain
    from providerhub._calling.many import Many, ManyCalls
    from providerhub._calling.many_async import AsyncMany
    from providerhub._calling.vendor_batches import VendorBatches

Calls = TypeVar("Calls", bound="ManyCalls")

PASSES = 3
"""The default of `passes`."""


class OpenMany:
    """The many calls of a hub that still have a reader. `holds` returns the seconds for which a call must not be sent."""

    def __init__(self, holds: Callable[..., float | None], clock: Clock, retry: RetryPolicy, rng: Rng) -> None:
        self._holds, self._clock, self._retry, self._rng = holds, clock, retry, rng
        self._open: WeakSet[ManyCalls] = WeakSet()

    def in_threads(self, complete: Callable[..., Any], items: Iterable[Any], executor: Executor | str | None, **how: Any) -> Many:
        """Make many calls in threads or another executor. `how` holds the arguments of the schedule."""
        from providerhub._calling.many import Many

        return self._kept(Many(complete, items, self._clock, executor, **self._parts(how)))

    def in_tasks(self, complete: Callable[..., Any], items: Iterable[Any] | AsyncIterable[Any], **how: Any) -> AsyncMany:
        """Make many calls by tasks of an event loop. Arguments and errors are those of `in_threads`."""
        from providerhub._calling.many_async import AsyncMany

        return self._kept(AsyncMany(complete, items, self._clock, **self._parts(how)))

    def at_vendors(self, *parts: Any, waiting: Running) -> VendorBatches:
        """Make the batches at vendors; `parts` are those of the hub."""
        from providerhub._calling.vendor_batches import VendorBatches

        return VendorBatches(self._clock, *parts, waiting=waiting)

    def _parts(self, how: dict[str, Any]) -> dict[str, Any]:
        return {"holds": self._holds, "retry": self._retry, "rng": self._rng, **how}

    def _kept(self, many: Calls) -> Calls:
        self._open.add(many)
        return many

    def forgiven(self, provider: str) -> None:
        """Let all send the rows again that a provider holds back."""
        for many in tuple(self._open):
            many.report(partial(many.schedule.forgiven, provider))

    def closed(self) -> None:
        """Let all send nothing more, since the hub was closed."""
        for many in tuple(self._open):
            many.report(many.schedule.closed)


def async_chain() -> type[AsyncChain]:
    """The driver of calls in an event loop. Raises `RuntimeError` where none is running, as under trio."""
    from providerhub._calling.async_chain import AsyncChain, running_loop

    running_loop()
    return AsyncChain
