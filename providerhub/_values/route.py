"""The route of one call: the planned candidates, the skipped candidates, and the attempts."""

from __future__ import annotations

import attrs

from providerhub._values.cost import Cost, Prices, Usage, cost_of, total
from providerhub._values.knobs import Timeout
from providerhub._values.value import Value, frozen


@frozen(eq=False, repr=False)
class Skip(Value):
    """A skipped candidate, with the reason.

    Args:
        provider: The name of the provider instance; `""` when no provider is known to have the model.
        model: The model's name as the provider would have received it; `""` when the whole provider was skipped.
        reason: `"unknown model"` without a provider; or one of
            `"no stream"`, `"no tools"`, `"no images"`, `"no json schema"`, `"no prefill"`, or another capability that
            the service denied, such as `"no audio"`; `"context window"`,
            `"not configured"`, `"breaker open"`, `"rate limited"`, `"quota used up"`, `"key rejected"`, `"blocked"`,
            `"conflict"`, `"incompatible"`, `"broken"`, `"over budget"` and `"probe under way"`.
        detail: One sentence with the fix.
    """

    provider: str
    model: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        name = "/".join(filter(None, (self.provider, self.model)))
        return f"{name}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


@frozen(eq=False, repr=False)
class Candidate(Value):
    """A provider instance and one of its models that can answer the request.

    Args:
        provider: The name of the provider instance.
        model: The model's name as the provider receives it.
        entry: The declared model that matched; for a prefix, `"acme-tiny/*"`. The circuit breaker counts by entry.
        match: The kind of match of the requested name: `"exact"` (the default), `"alias"`, `"prefix"`, or `"any"`. `"any"`: a
            pinned provider without declared models, or a failed list of the vendor that surely has the name.
        context_window: The maximum number of tokens of prompt and answer together; `None` when unknown.
        prefill: Whether the model continues a partial assistant message. Default false.
        stream: Whether the model may be asked to stream; false only if it is known that the model cannot stream.
        group: The number of the model in the request's sequence, from 0. Candidates of one group serve the same model. The caller
            prefers earlier groups.
        priority: The provider's priority in the settings; the highest priority is tried first.
        reasoning: Whether the model is known to reason before it answers.
        timeout: The timeouts of the provider or the model, from the settings or the plugin; `None` without any.
        headers: HTTP headers of the model in the settings, as pairs of name and value.
        slow: Whether a long silence before the answer is usual: a model that reasons, or a local server that loads its models.
        prices: The model's prices; `None` when none is known.
        max_output: The maximum tokens of an answer, or the context window, also from a catalogue; `None` when unknown.
    """

    provider: str
    model: str
    entry: str
    match: str = "exact"
    context_window: int | None = None
    prefill: bool = False
    stream: bool = True
    group: int = 0
    priority: float = 0
    slow: bool = False
    reasoning: bool = False
    timeout: Timeout | None = None
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    prices: Prices | None = None
    max_output: int | None = None

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@frozen(eq=False, repr=False)
class RoutePlan(Value):
    """The candidates for a request, in the order to try.

    Args:
        candidates: The candidates, first choice first; at least one.
        skipped: The skipped candidates, each with its reason.
        waits: The candidates that must wait now, each with its reason and the length of the wait. Only `Hub.explain` fills it in.
    """

    candidates: tuple[Candidate, ...]
    skipped: tuple[Skip, ...] = ()
    waits: tuple[Skip, ...] = ()

    def __str__(self) -> str:
        waits = {(wait.provider, wait.model): wait for wait in self.waits}
        lines = [f"{n}. {waits.get((c.provider, c.model), c)}" for n, c in enumerate(self.candidates, 1)]
        return "\n".join(lines + [f"-  {skip}" for skip in self.skipped])


@frozen(eq=False, repr=False)
class Attempt(Value):
    """One attempt at one provider.

    Args:
        number: The number of the attempt in its call, from 1.
        provider: The name of the provider instance.
        model: The model's name as the provider received it.
        outcome: `"ok"`, `"error"`, `"abandoned"` (the caller closed it, or a faster attempt won), or `"open"` while it runs.
        error: The error of the attempt; `None` without one.
        waited: Seconds of backoff before this attempt.
        started: Seconds from the start of the call to the start of this attempt.
        duration: Seconds from the start of the attempt to its end.
        first_token: Seconds from the start of the attempt to its first content; `None` without content.
        notes: Oddities that did not fail the attempt, such as a wrong content type.
        request_id: The service's identifier of the HTTP request; `None` when unknown.
        usage: The token counts from the service, also of a failed or abandoned attempt; `None` when unknown.
        served_model: The model that answered, as the service names it; `None` when unknown.
        prices: The prices for `cost`; `None` when unknown, or if the service charged another tariff.
        call_id: The `id` of the call's `CallRecord`; empty when nothing observes the call.
    """

    number: int
    provider: str
    model: str
    outcome: str = "open"
    error: BaseException | None = None
    waited: float = 0.0
    started: float = 0.0
    duration: float = 0.0
    first_token: float | None = None
    notes: tuple[str, ...] = ()
    request_id: str | None = None
    usage: Usage | None = None
    served_model: str | None = None
    prices: Prices | None = attrs.field(default=None, repr=False)
    call_id: str = ""

    @property
    def cost(self) -> Cost | None:
        """The cost of the attempt; `None` when unknown."""
        return cost_of(self.usage, self.prices)

    def __str__(self) -> str:
        head = f"{self.number}. {self.provider}/{self.model}: {self.outcome} after {self.duration:.3f} s"
        if self.waited:
            head += f", waited {self.waited:.1f} s before"
        if self.error is not None:
            said = _one_line(self.error).removeprefix(f"{self.provider}/{self.model}: ")
            head += f": {type(self.error).__name__}: {said}"
        return head


def _one_line(error: BaseException) -> str:
    """Return the first line of the error: a printed route has one line per attempt."""
    return next(iter(str(error).splitlines()), "")


@frozen(eq=False, repr=False)
class Route(Value):
    """All attempts of one call, and the skipped candidates.

    Args:
        attempts: The attempts in the order in which they started.
        skipped: The skipped candidates, each with its reason.
        duration: Seconds from the start of the call to the end of the answer, or to its failure or abandonment.
    """

    attempts: tuple[Attempt, ...] = ()
    skipped: tuple[Skip, ...] = ()
    duration: float = 0.0

    @property
    def cost(self) -> Cost | None:
        """The cost of all attempts; `None` if nothing was sent, or a cost is unknown.

        An attempt that failed before its first content, without token counts, does not count.
        """
        return total(a.cost for a in self.attempts if a.usage or a.first_token is not None or a.outcome != "error")

    def cost_of(self, usage: Usage | None, provider: str, model: str) -> Cost | None:
        """Compute the cost of an answer with the prices of its attempt.

        Args:
            usage: The token counts of the answer.
            provider: The name of the provider instance that answered.
            model: The model that answered, by the sent name.

        Returns:
            The cost; `None` when unknown.
        """
        asked = (one.prices for one in reversed(self.attempts) if (one.provider, one.model) == (provider, model))
        return cost_of(usage, next(asked, None))

    def __str__(self) -> str:
        return "\n".join([*map(str, self.attempts), *(f"-  {skip}" for skip in self.skipped)])
