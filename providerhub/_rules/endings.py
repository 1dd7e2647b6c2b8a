"""The error that a call ends with, from the failures of its attempts."""

from __future__ import annotations

from collections.abc import Sequence

from providerhub._values import Attempt, Candidate, Completion
from providerhub._values.errors import (
    AllProvidersFailedError,
    AttemptError,
    CallerError,
    DeadlineExceededError,
    ModelNotFoundError,
    ModelUnavailableError,
    PluginError,
    ProviderError,
    ProviderHubError,
    RateLimitError,
    StreamInterruptedError,
)


def last_error(attempts: Sequence[Attempt]) -> AttemptError | None:
    """The error of the latest attempt that failed; `None` without one."""
    return next((a.error for a in reversed(attempts) if a.error is not None), None)  # type: ignore[return-value]


def late(attempts: Sequence[Attempt], seconds: float, cause: AttemptError | None) -> DeadlineExceededError:
    """The error of a call whose time is over."""
    tried = f"; the last attempt failed: {cause}" if cause is not None else ""
    error = DeadlineExceededError(f"the call's total time of {seconds:g} s is over after {len(attempts)} attempts{tried}")
    error.__cause__ = cause
    return error


def exhausted(attempts: Sequence[Attempt], last: Candidate) -> ProviderHubError:
    """The error of a call that has no candidate left."""
    errors = [a.error for a in attempts if a.error is not None]
    if len({type(error) for error in errors}) > 1:
        count = len({a.provider for a in attempts})
        message = f"{len(errors)} attempts at {count} provider{'s' * (count > 1)} failed"
        return AllProvidersFailedError(message, attempts=tuple(attempts))
    error = errors[-1]
    if isinstance(error, PluginError) and isinstance(error.__cause__, CallerError):
        # The plugin found its settings wrong. The caller can mend that, so the error is raised as it is.
        return error.__cause__
    if isinstance(error, ModelUnavailableError):
        missing = ModelNotFoundError(f"{last}: the provider does not have the model: {error}")
        missing.__cause__ = error
        return missing
    return error  # type: ignore[return-value]


def blame(error: AttemptError, candidate: Candidate) -> AttemptError:
    """Fill in the provider and model of an error, where the plugin did not."""
    if not error.provider:
        if isinstance(error, PluginError):
            error.plugin = candidate.provider
        else:
            error.provider = candidate.provider
    error.model = error.model or candidate.model
    return error


def broken_off(broken: Candidate, completion: Completion, error: AttemptError, cause: ProviderHubError) -> StreamInterruptedError:
    """The error of a stream that broke after its first content. `cause` is the failure as the caller gets it."""
    interruption = StreamInterruptedError(
        f"{broken} broke off after {len(completion.text)} characters: {error}",
        partial=completion.text,
        completion=completion,
        provider=broken.provider,
        cause=cause,
    )
    interruption.__cause__ = error
    return interruption


def no_turn(candidate: Candidate, reason: str, seconds: float) -> RateLimitError:
    """The error of a call that got no turn at a provider with limits."""
    msg = f"no turn in time ({reason}): the next one is in {seconds:.0f} s"
    return RateLimitError(msg, provider=candidate.provider, model=candidate.model, retry_after=seconds)


def located(error: ProviderHubError) -> ProviderHubError:
    """Let the message of an error begin with the provider and model that it comes from."""
    if isinstance(error, ProviderError | PluginError) and not str(error).startswith(f"{error.provider}/"):
        error.args = (f"{error.provider}/{error.model}: {error}",)
    return error
