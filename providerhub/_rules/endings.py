"""The error that a call ends with, from the failures of its attempts."""

from __future__ import annotations

from collections.abc import Sequence

from providerhub._values import Attempt, Candidate, Completion, errors


def last_error(attempts: Sequence[Attempt]) -> errors.AttemptError | None:
    return next((a.error for a in reversed(attempts) if a.error is not None), None)  # type: ignore[return-value]


def late(attempts: Sequence[Attempt], seconds: float, cause: errors.AttemptError | None) -> errors.DeadlineExceededError:
    tried = f"; the last one failed: {told(cause)}" if cause is not None else ""
    count = f"{len(attempts)} attempt{'s' * (len(attempts) != 1)}"
    msg = f"the call's total time of {seconds:g} s is over after {count}{tried}; `timeout` sets this time"
    error = errors.DeadlineExceededError(msg)
    error.__cause__ = cause
    return error


def exhausted(attempts: Sequence[Attempt], last: Candidate) -> errors.ProviderHubError:
    failures = [a.error for a in attempts if a.error is not None]
    if len({type(error) for error in failures}) > 1:
        count = len({a.provider for a in attempts})
        message = f"{len(failures)} attempts at {count} provider{'s' * (count > 1)} failed"
        return errors.AllProvidersFailedError(message, attempts=tuple(attempts))
    error = failures[-1]
    if isinstance(error, errors.PluginError) and isinstance(error.__cause__, errors.CallerError):
        # The plugin found wrong settings. The caller can fix them, so the error is raised unchanged.
        return error.__cause__
    if isinstance(error, errors.ModelUnavailableError):
        missing = errors.ModelNotFoundError(f"{last}: the provider does not have the model: {error}")
        missing.__cause__ = error
        return missing
    return error  # type: ignore[return-value]


def broken_off(
    broken: Candidate, completion: Completion, error: errors.AttemptError, over: errors.DeadlineExceededError | None
) -> errors.ProviderHubError:
    """The error of a stream that broke after its first content; `over` if the time of the call was over."""
    if isinstance(error, errors.InvalidOutputError):  # the stream is whole, but does not fit `response_format`
        return error
    msg = f"{broken} broke off after {len(completion.text)} characters: {error}"
    interruption = errors.StreamInterruptedError(
        msg, partial=completion.text, completion=completion, provider=broken.provider, cause=over or error
    )
    interruption.__cause__ = error
    return interruption


def told(error: errors.AttemptError) -> str:
    """The message of an error, beginning with its provider and model."""
    text = str(error)
    return text if text.startswith(f"{error.provider}/") else f"{error.provider}/{error.model}: {text}"
