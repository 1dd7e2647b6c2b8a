"""The health of one model at one provider, as `Hub.health()` shows it."""

from __future__ import annotations

from providerhub._values.frozen import frozen
from providerhub._values.value import Value


@frozen(eq=False, repr=False, kw_only=True)
class HealthRecord(Value):
    """The health of a model at a provider, or of a whole provider, at one moment. All times are in seconds.

    Args:
        provider: The name of the provider instance.
        model: The declared model that matched, such as `"gpt-4"` or `"acme-tiny/*"`; `""` for the whole provider.
        state: The state of the circuit breaker: `"closed"` (the default), `"open"`, or `"half-open"` when the next call, or one
            that is under way, probes the model.
        retry_in: Seconds until the model is tried again: the end of the breaker's open time or of the pause. Default 0: now.
        pause: The reason of a pause: `"rate limited"`, `"key rejected"`, `"forbidden"` or `"quota used up"`; `""` without one.
        first_token: The median of the last 64 times to the first content of a stream; `None`, the default, when unknown.
        whole: The median of the last 64 times to a whole answer; `None`, the default, when unknown.
        budget: The tokens in the provider's retry budget; a retry takes one. `None`, the default, before its first use.
        concurrency: The limit of calls under way at once; `None`, the default, for no limit.
        rpm: The limit of calls a minute; `None`, the default, for no limit.
        tpm: The limit of tokens a minute; `None`, the default, for no limit.
        in_use: The calls under way that hold a turn. Counted only where there is a limit or a learned rate. Default 0.
        waiting: The calls that wait for a turn. Default 0.
        learned_rpm: The calls a minute that the service accepts, as its refusals showed; `None`, the default, when unknown.
        lacking: The capabilities that the service said the model lacks, each within the last hour, such as `"images"`.
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
