"""The way of one call: what was planned, what was left out and why, what was tried and how it ended."""

from __future__ import annotations

import attrs

from providerhub._values.value import Value


@attrs.frozen(eq=False, repr=False)
class Skip(Value):
    """A candidate that was left out, and why.

    Args:
        provider: The provider instance.
        model: The model's name as it would have been sent, or `""` when the whole provider is left out.
        reason: A fixed word: `"no stream"`, `"no tools"`, `"no images"`, `"no json schema"`, `"no prefill"`,
            `"context window"`, `"not configured"`, `"breaker open"`, `"rate limited"`, `"quota used up"`,
            `"key rejected"`, `"blocked"`, `"conflict"`, `"incompatible"`, `"broken"` or `"probe under way"`.
        detail: A sentence that says what would bring the candidate back.
    """

    provider: str
    model: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        name = f"{self.provider}/{self.model}" if self.model else self.provider
        return f"{name}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


@attrs.frozen(eq=False, repr=False)
class Candidate(Value):
    """One way to answer: a provider instance and a model of it.

    Args:
        provider: The provider instance's name.
        model: The model's name as it is sent to the provider.
        entry: The declared model entry that matched (`"acme-tiny/*"` for a prefix): health is kept per entry.
        match: How the asked name was matched: `"exact"`, `"alias"`, `"prefix"` or `"any"` (a pinned
            provider that declares no models).
        context_window: Tokens that fit, or `None` when unknown.
        prefill: Whether the provider carries on from a partial assistant message.
        stream: Whether it may be asked for pieces; false only where it is known to have none.
    """

    provider: str
    model: str
    entry: str
    match: str = "exact"
    context_window: int | None = None
    prefill: bool = False
    stream: bool = True

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@attrs.frozen(eq=False, repr=False)
class RoutePlan(Value):
    """What would be tried for a request, in order.

    Args:
        candidates: The ways to answer, first choice first. Never empty: a plan without candidates is an error.
        skipped: What was left out, each with its reason.
    """

    candidates: tuple[Candidate, ...]
    skipped: tuple[Skip, ...] = ()

    def __str__(self) -> str:
        lines = [f"{n}. {candidate}" for n, candidate in enumerate(self.candidates, 1)]
        return "\n".join(lines + [f"-  {skip}" for skip in self.skipped])


@attrs.frozen(eq=False, repr=False)
class Attempt(Value):
    """One try at one provider.

    Args:
        number: Counts the attempts of one call from 1.
        provider: The provider instance.
        model: The model's name as it was sent.
        outcome: `"ok"`, `"error"`, `"abandoned"` (closed by the caller or a lost race) or `"open"` while it runs.
        error: What went wrong, or `None`.
        waited: Seconds of back-off before this attempt.
        started: Seconds from the start of the call to the start of this attempt.
        duration: Seconds that the attempt took.
        first_token: Seconds from its start to its first content, or `None` when none came.
        notes: Oddities that did not fail it, such as a wrong content type.
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

    def __str__(self) -> str:
        head = f"{self.number}. {self.provider}/{self.model}: {self.outcome} after {self.duration:.3f} s"
        if self.waited:
            head += f", waited {self.waited:.1f} s before"
        if self.error is not None:
            head += f": {type(self.error).__name__}: {_one_line(self.error)}"
        return head


def _one_line(error: BaseException) -> str:
    """The error's first line: a route is read in a terminal, one line an attempt."""
    return next(iter(str(error).splitlines()), "")


@attrs.frozen(eq=False, repr=False)
class Route(Value):
    """Every attempt of one call, and what was left out.

    Args:
        attempts: In the order in which they were started.
        skipped: Candidates left out, each with its reason.
        duration: Seconds from the call's start until the answer was whole, failed or was abandoned.
    """

    attempts: tuple[Attempt, ...] = ()
    skipped: tuple[Skip, ...] = ()
    duration: float = 0.0

    def __str__(self) -> str:
        return "\n".join([*map(str, self.attempts), *(f"-  {skip}" for skip in self.skipped)])
