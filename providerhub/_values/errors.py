"""Every error that providerhub raises, as one tree.

    ProviderHubError
    ├─ CallerError                    the caller can mend it; nothing was sent
    │   ├─ InvalidRequestError        (ValueError)
    │   ├─ ConfigurationError
    │   ├─ ModelNotFoundError         (LookupError, ValueError)
    │   ├─ NoCapableProviderError
    │   └─ AmbiguousProviderError
    ├─ ProviderError                  the remote service's fault, or the way to it
    │   ├─ ProviderConnectionError    (ConnectionError)
    │   ├─ ProviderTimeoutError       (TimeoutError)
    │   ├─ TLSError
    │   ├─ RateLimitError
    │   ├─ QuotaExceededError
    │   ├─ AuthenticationError        (PermissionError)
    │   ├─ ServerError
    │   ├─ ModelUnavailableError
    │   ├─ BadRequestError
    │   ├─ ContextLengthError
    │   ├─ ContentPolicyError
    │   ├─ ProtocolError
    │   └─ EmptyAnswerError
    ├─ PluginError                    the plugin's own fault
    ├─ StreamInterruptedError         after the first content had been handed over
    ├─ DeadlineExceededError          (TimeoutError)
    └─ AllProvidersFailedError        the attempts failed in different ways

Cancellation has no class here: `KeyboardInterrupt`, `asyncio.CancelledError` and their like pass through untouched.

All of them pickle: what is beyond the message lives in the instance's dictionary, which the default protocol carries.
None holds a secret.
"""

from __future__ import annotations

from typing import ClassVar

from providerhub._values.answer import Completion
from providerhub._values.route import Attempt, Route

EXCERPT_LIMIT = 500
"""Characters of a foreign body that an error keeps: enough to recognise it, too few to leak a conversation."""


class ProviderHubError(Exception):
    """The root of the tree.

    Args:
        message: What happened, where, and what to do next.

    Attributes:
        route: The attempts of the call and what was left out; empty when nothing was tried.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.route = Route()


class CallerError(ProviderHubError):
    """The call or the set-up is wrong; the caller can mend it. Nothing was sent."""


class InvalidRequestError(CallerError, ValueError):
    """An argument has the wrong shape or value."""


class ConfigurationError(CallerError):
    """A setting is missing, unknown or wrong."""


class ModelNotFoundError(CallerError, LookupError, ValueError):
    """No provider has the model: none declares it, or every one that was asked says so."""


class NoCapableProviderError(CallerError):
    """Providers have the model, but each was left out; `route.skipped` says why."""


class AmbiguousProviderError(CallerError):
    """Two distributions offer one provider name, and no setting says which is meant."""


class ProviderError(ProviderHubError):
    """A provider could not answer.

    Args:
        message: What happened and what to do next.
        provider: The provider instance; the chain fills it in where a plugin leaves it out.
        model: The model's name as it was sent; likewise.
        status: The HTTP status, where there was one.
        retryable: Whether the same provider may be tried again for this call; `None` takes the class's default.
        retry_after: Seconds that the provider asked to be left alone.
        excerpt: The beginning of the answer's body, cut at 500 characters. Redact keys before handing it over.
    """

    retryable_by_default: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        provider: str = "",
        model: str = "",
        status: int | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        excerpt: str = "",
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.status = status
        self.retryable = self.retryable_by_default if retryable is None else retryable
        self.retry_after = retry_after
        self.excerpt = excerpt[:EXCERPT_LIMIT]


class ProviderConnectionError(ProviderError, ConnectionError):
    """The provider could not be reached, or the connection broke before an answer began."""

    retryable_by_default = True


class ProviderTimeoutError(ProviderError, TimeoutError):
    """A phase of the call took longer than its timeout."""

    retryable_by_default = True


class TLSError(ProviderError):
    """The certificate or the handshake is bad. Verification is never switched off; see `ca_bundle` for private authorities."""


class RateLimitError(ProviderError):
    """Too many requests (429); `retry_after` says for how long, where the provider does."""

    retryable_by_default = True


class QuotaExceededError(ProviderError):
    """The account has no quota or money left (402, or a body that says so)."""


class AuthenticationError(ProviderError, PermissionError):
    """The key is missing, wrong or not allowed to do this (401, 403)."""


class ServerError(ProviderError):
    """The provider's own failure (5xx and its like)."""

    retryable_by_default = True


class ModelUnavailableError(ProviderError):
    """The provider says that it does not have the model."""


class BadRequestError(ProviderError):
    """The provider refused the request as malformed (400, 413, 422): nobody else is asked, since the request is wrong."""


class ContextLengthError(BadRequestError):
    """The conversation does not fit the model's context window."""


class ContentPolicyError(BadRequestError):
    """The provider refused the content."""


class ProtocolError(ProviderError):
    """The answer does not follow its protocol: garbage, a broken limit, a redirect, an end that is missing."""


class EmptyAnswerError(ProviderError):
    """The answer ended with neither content nor an end mark."""


class PluginError(ProviderHubError):
    """A plugin broke its own contract.

    Args:
        message: What it did.
        plugin: The provider instance or plugin to blame.
        model: The model that was asked for, where there was one.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, plugin: str = "", model: str = "") -> None:
        super().__init__(message)
        self.plugin = plugin
        self.model = model

    @property
    def provider(self) -> str:
        """The same as `plugin`, so that every failure of an attempt can be asked for its provider."""
        return self.plugin


class StreamInterruptedError(ProviderHubError):
    """The stream broke after content had been handed over, so another answer would repeat or splice it.

    Args:
        message: What happened.
        partial: The text handed over so far.
        completion: All that had come so far, tool calls and reasoning included.
        provider: Who was answering.
        cause: What broke it.
    """

    def __init__(
        self,
        message: str = "",
        *,
        partial: str = "",
        completion: Completion | None = None,
        provider: str = "",
        cause: ProviderHubError | None = None,
    ) -> None:
        super().__init__(message)
        self.partial = partial
        self.completion = completion
        self.provider = provider
        self.cause = cause


class DeadlineExceededError(ProviderHubError, TimeoutError):
    """The call's total time is over."""


class AllProvidersFailedError(ProviderHubError):
    """Every attempt failed, and not all in the same way. Printed, it has one line for each attempt.

    Args:
        message: A one-line summary.
        attempts: Each attempt with its error.
    """

    def __init__(self, message: str = "", *, attempts: tuple[Attempt, ...] = ()) -> None:
        super().__init__(message)
        self.attempts = attempts

    def __str__(self) -> str:
        return "\n".join([*map(str, self.args), *(f"  {attempt}" for attempt in self.attempts)])


AttemptError = ProviderError | PluginError
"""What a failed attempt can end in, once foreign exceptions have been mapped."""
