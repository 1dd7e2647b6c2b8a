"""The records of calls and of health, and the interface of a gate: for observers, gates and `Hub.health()`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from providerhub._values.answer import Completion
from providerhub._values.cost import Cost, Usage
from providerhub._values.request import Model, Request
from providerhub._values.route import Attempt, Candidate, Route, RoutePlan
from providerhub._values.value import Value, frozen, public


@frozen(eq=False, repr=False)
class CallRecord(Value):
    """One call: its request, attempts and result. Observers get the record at the start and at the end of a call.

    Args:
        id: The unique identifier of the call. The records of the start and of the end have the same identifier.
        parent: The `id` of the earlier try, if `complete_many` repeats a request. `None` for other calls.
        asked: The model or models that the caller named.
        request: The request, before a candidate is chosen.
        plan: The candidates, and the skipped candidates; `None` without a plan.
        route: The attempts; empty at the start.
        completion: The answer, or its part before the reader left; `None` at the start, and without any content.
        error: The error of the call; `None` at the start, after an answer, and if the caller left.
        started: The start of the call, in seconds of Unix time.
        timeout: The maximum duration of the call, in seconds.
        metadata: The caller's keyword `metadata`.
    """

    id: str
    asked: str | Model | Sequence[str | Model]
    request: Request
    started: float
    timeout: float
    parent: str | None = None
    plan: RoutePlan | None = None
    route: Route = Route()
    completion: Completion | None = None
    error: BaseException | None = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def usage(self) -> Usage | None:
        """The token counts of the answer; each attempt of `route` has its own counts."""
        return self.completion.usage if self.completion is not None else None

    @property
    def cost(self) -> Cost | None:
        """The cost of all attempts; `None` when unknown. The same as `route.cost`."""
        return self.route.cost


@public
class AttemptGate(Protocol):
    """Decides whether an attempt may be sent. A plugin adds a gate with the hook `providerhub_gate`.

    Each reservation ends with exactly one call of `settle` or `release`, unless the process ends before. All methods may be
    called from several threads at once.
    """

    def reserve(self, call: CallRecord, candidate: Candidate, bound: Usage) -> Any:
        """Reserve the maximum use of an attempt. This method may wait for a disk or the network.

        It is called in the thread of `complete`, or, for `acomplete`, in a separate thread.

        Args:
            call: The record of the call at its start. The call ends at the latest `timeout` seconds after `started`.
            candidate: The provider and model to ask, with the model's `prices`.
            bound: The maximum tokens of the attempt. `input_tokens` is an upper estimate. `output_tokens` is the first known
                value of: the call's `max_tokens`, the model's maximum, its context window; or `None`.

        Returns:
            The reservation, as any object; `None` if there is nothing to settle.

        Raises:
            BudgetExceededError: The attempt must not be sent. The call tries another candidate, the cheapest first. Any other
                exception counts as a refusal too.
        """

    def settle(self, token: Any, attempt: Attempt, used: Usage) -> None:
        """End the reservation of an attempt that was sent. This method must not wait, since it may be called in an event loop.

        Args:
            token: The result of `reserve`.
            attempt: The attempt, with its `cost` if known.
            used: The tokens of the attempt. If the service sent no count, the value is an upper estimate.
        """

    def release(self, token: Any) -> None:
        """End the reservation of an attempt that cost nothing: it was not sent, or refused. This method must not wait.

        Args:
            token: The result of `reserve`.
        """


@frozen(eq=False, repr=False, kw_only=True)
class HealthRecord(Value):
    """The health of a model at a provider, or of a whole provider, at one moment. All times are in seconds.

    Args:
        provider: The name of the provider instance.
        model: The declared model that matched, such as `"gpt-4"` or `"acme-tiny/*"`; `""` for the whole provider.
        state: The state of the circuit breaker: `"closed"` (the default), `"open"`, or `"half-open"` when a running call or the
            next call probes the model.
        retry_in: Seconds until the model is tried again, when the breaker's open time or the pause ends. Default 0: now.
        pause: The reason of a pause: `"rate limited"`, `"key rejected"`, `"forbidden"` or `"quota used up"`; `""` without one.
        first_token: The median of the last 64 times to the first content of a stream; `None`, the default, when unknown.
        whole: The median of the last 64 times to a whole answer; `None`, the default, when unknown.
        budget: The tokens in the provider's retry budget; a retry takes one. `None`, the default, before its first use.
        concurrency: The limit of calls at the same time; `None`, the default, for no limit.
        rpm: The limit of calls per minute; `None`, the default, for no limit.
        tpm: The limit of tokens per minute; `None`, the default, for no limit.
        in_use: The running calls that hold a turn. Counted only with a limit or a learned rate. Default 0.
        waiting: The calls that wait for a turn. Default 0.
        learned_rpm: The calls per minute that the service accepts, learned from its refusals; `None`, the default, when unknown.
        lacking: The capabilities that the service denied within the last hour, such as `"images"`.
    """

    provider: str
    model: str
    state: str = "closed"
    retry_in: float = 0.0
    pause: str = ""
    first_token: float | None = None
    whole: float | None = None
    budget: float | None = None
    concurrency: int | None = None
    rpm: float | None = None
    tpm: float | None = None
    in_use: int = 0
    waiting: int = 0
    learned_rpm: float | None = None
    lacking: tuple[str, ...] = ()
