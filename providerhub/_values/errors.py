"""Every error that providerhub raises, as one tree.

    ProviderHubError
    ├─ CallerError                    the caller's mistake; nothing was sent
    │   ├─ InvalidRequestError        (ValueError)
    │   ├─ ConfigurationError
    │   ├─ ModelNotFoundError         (LookupError, ValueError)
    │   ├─ NoCapableProviderError
    │   ├─ AmbiguousProviderError
    │   └─ BudgetExceededError
    ├─ ProviderError                  a failure of the service, or of the connection to it
    │   ├─ ProviderConnectionError    (ConnectionError)
    │   │   └─ ShortageError          this process has no file descriptor or thread left
    │   ├─ ProviderTimeoutError       (TimeoutError)
    │   ├─ TLSError
    │   ├─ RateLimitError
    │   ├─ QuotaExceededError
    │   ├─ AuthenticationError        (PermissionError)
    │   │   └─ ForbiddenError         a 403 that does not speak of the key
    │   ├─ ServerError
    │   ├─ ModelUnavailableError
    │   ├─ BadRequestError
    │   │   ├─ ContextLengthError
    │   │   ├─ ContentPolicyError
    │   │   └─ CapabilityError        the model cannot do that
    │   ├─ InvalidOutputError         an answer that does not fit `response_format`
    │   ├─ ProtocolError
    │   └─ EmptyAnswerError
    ├─ PluginError                    the plugin's mistake
    ├─ StreamInterruptedError         the stream broke after its first content
    ├─ DeadlineExceededError          (TimeoutError)
    └─ AllProvidersFailedError        the attempts failed in different ways

Cancellation has no class here: `KeyboardInterrupt`, `asyncio.CancelledError` and similar exceptions pass through unchanged.

All errors can be pickled. Unpickling makes the error from its message, with default attributes, and then sets the attributes of
the pickle. No error holds a secret.
"""

from __future__ import annotations

from typing import Any, ClassVar

from providerhub._values.answer import Completion
from providerhub._values.route import Attempt, Route
from providerhub._values.value import public

EXCERPT_LIMIT = 500
"""Characters of a response body in an error: enough to recognise the failure, too few to leak a conversation."""

KEY_VARIABLE = "environment variable that sets it"
"""The placeholder for the variable in the errors of refused keys, until the hub fills in its name."""


@public
class ProviderHubError(Exception):
    """The base class of all errors of providerhub.

    Args:
        message: The failure, its place, and the fix.

    Attributes:
        route: The attempts of the call and the skipped candidates; empty without an attempt.
        uncounted: Whether no breaker counts the failure, and the next provider is tried. True if the request itself was not sent:
            the plugin could not write it, or an earlier request, such as for a token, was refused.
    """

    uncounted: bool = False

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.route = Route()

    def __init_subclass__(cls) -> None:
        if cls.__module__ == __name__:
            public(cls)


class CallerError(ProviderHubError):
    """The call or the configuration has a mistake that the caller can fix. Nothing was sent."""


class InvalidRequestError(CallerError, ValueError):
    """An argument has a wrong type or value. The message names the argument and the allowed values."""


class ConfigurationError(CallerError):
    """A setting is missing, unknown or wrong. The message names the setting, and its line in the settings file."""


class ModelNotFoundError(CallerError, LookupError, ValueError):
    """No provider has the model: no provider declares it, or every asked provider denied it. Check the name.

    If a provider could not list its models, the call raises the error of this failure instead, such as `ProviderConnectionError`.
    """


class NoCapableProviderError(CallerError):
    """Providers have the model, but each of them was skipped. `route.skipped` holds the reasons."""


class AmbiguousProviderError(CallerError):
    """Two distributions have a provider with the same name. The setting `prefer` chooses between them."""


class BudgetExceededError(CallerError):
    """At every candidate, the call may cost more than the rest of a budget. Nothing was sent. Raise the budget, or wait."""


class ProviderError(ProviderHubError):
    """A provider failed to answer.

    Args:
        message: The failure, and the fix.
        provider: The provider instance. The call fills it in if the plugin does not.
        model: The model's name as the provider received it. The call fills it in if the plugin does not.
        status: The HTTP status; `None` without a response.
        retryable: Whether the call may try the same provider again; `None`: the default of the class.
        retry_after: Seconds to wait before the next request, as the provider asks.
        excerpt: The beginning of the response body, cut to 500 characters. The plugin must remove keys.
        request_id: The service's identifier of the request, for questions to its support. Empty when unknown.
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
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.status = status
        self.retryable = self.retryable_by_default if retryable is None else retryable
        self.retry_after = retry_after
        self.excerpt = excerpt[:EXCERPT_LIMIT]
        self.request_id = request_id


class ProviderConnectionError(ProviderError, ConnectionError):
    """The connection failed, or broke before the answer began.

    Attributes:
        may_be_address: Whether the address may be wrong: its host was not found, or took no connection. The error of the call
            then names the setting, unless the address is the plugin's own. Default false.
        unknown_host: The name of the host if it cannot be resolved. The error then names the options that are a part of it, such
            as a region. Default empty.
    """

    retryable_by_default = True
    may_be_address: bool = False
    unknown_host: str = ""


class ShortageError(ProviderConnectionError):
    """This process has no file descriptor or thread left for the request. The provider was not asked.

    Raise the limit of open files (`ulimit -n`), or make fewer calls at once.
    """


class ProviderTimeoutError(ProviderError, TimeoutError):
    """A phase of the call took longer than its timeout. `Timeout` sets the phases."""

    retryable_by_default = True


class TLSError(ProviderError):
    """The TLS certificate or handshake is invalid. Verification cannot be disabled; `ca_bundle` names private authorities."""


class RateLimitError(ProviderError):
    """Too many requests (429). `retry_after` holds the seconds to wait, if the provider sent them."""

    retryable_by_default = True


class QuotaExceededError(ProviderError):
    """The account has no quota or credit left (402, or a response body that says so)."""


class AuthenticationError(ProviderError, PermissionError):
    """The key is missing, wrong or without the necessary permission: 401, or a 403 about the key or the account.

    Attributes:
        about_key: Whether the refusal is about the key or the account. Only `ForbiddenError` has `False`.
    """

    about_key: ClassVar[bool] = True


class ForbiddenError(AuthenticationError):
    """The service refused the request (403) for a reason other than the key: a firewall, or a feature that is not allowed."""

    about_key: ClassVar[bool] = False


class ServerError(ProviderError):
    """The service failed (5xx and similar statuses).

    Attributes:
        loading: Whether the service is still loading the model. A call waits for it at a provider that declares `slow_start`.
            Default false.
    """

    retryable_by_default = True
    loading: bool = False


class ModelUnavailableError(ProviderError):
    """The provider answers that it does not have the model."""


class BadRequestError(ProviderError):
    """The provider refused the request as malformed (400, 413, 422). No other provider is tried, since the request is wrong."""


class ContextLengthError(BadRequestError):
    """The conversation does not fit the model's context window. Shorten it, or use another model."""


class ContentPolicyError(BadRequestError):
    """The provider refused the content of the conversation because of its policy."""


class CapabilityError(BadRequestError):
    """The model lacks an ability that the request needs, such as reading images. Another model may answer.

    Args:
        message: The failure, and the fix.
        capability: The ability that the model lacks: `"images"`, `"tools"`, `"json_schema"`, `"audio"`, `"logprobs"`, `"stream"`,
            `"reasoning"`, `"system"`, or the name of a refused parameter. Default empty: unknown.
        **more: The keywords of `ProviderError`.
    """

    def __init__(self, message: str = "", *, capability: str = "", **more: Any) -> None:
        super().__init__(message, **more)
        self.capability = capability


class InvalidOutputError(ProviderError):
    """The answer does not fit `response_format`. The call asks the same provider once more, and then the next provider.

    Args:
        message: The wrong place in the answer, and the reason.
        text: The text of the answer.
        completion: The whole answer, with its token counts; `None` when unknown.
        **more: The keywords of `ProviderError`.
    """

    retryable_by_default = True

    def __init__(self, message: str = "", *, text: str = "", completion: Completion | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.text = text
        self.completion = completion


class ProtocolError(ProviderError):
    """The response breaks its protocol: invalid data, too much data, a redirect, or a missing end."""


class EmptyAnswerError(ProviderError):
    """The answer ended without content and without a finish reason."""


class PluginError(ProviderHubError):
    """A plugin broke the rules of the plugin interface. Report it to the author of the plugin.

    Args:
        message: The plugin's mistake, in one sentence.
        plugin: The provider instance or plugin with the mistake.
        model: The requested model; empty when unknown.

    Attributes:
        piece: The wrong object that the plugin yielded, with the reason; empty for another mistake.
    """

    retryable: ClassVar[bool] = False
    piece: str = ""

    def __init__(self, message: str = "", *, plugin: str = "", model: str = "") -> None:
        super().__init__(message)
        self.plugin = plugin
        self.model = model

    @property
    def provider(self) -> str:
        """The same as `plugin`: every error of an attempt has the attribute `provider`."""
        return self.plugin


class StreamInterruptedError(ProviderHubError):
    """The stream broke after its first content. Another answer could repeat the text, so no other provider was tried.

    Args:
        message: The failure, in one sentence.
        partial: The text up to the interruption.
        completion: The answer up to the interruption, with tool calls and reasoning; `None` without any content.
        provider: The provider instance that answered.
        cause: The error that broke the stream.
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
    """The call took longer than its total timeout, `Timeout.total`."""


class AllProvidersFailedError(ProviderHubError):
    """All attempts failed, in different ways. `str(error)` has one line for each attempt.

    Args:
        message: A summary in one line.
        attempts: The attempts, each with its error.
    """

    def __init__(self, message: str = "", *, attempts: tuple[Attempt, ...] = ()) -> None:
        super().__init__(message)
        self.attempts = attempts

    def __str__(self) -> str:
        return "\n".join([*map(str, self.args), *(f"  {attempt}" for attempt in self.attempts)])


AttemptError = ProviderError | PluginError
"""The errors of an attempt, after other exceptions have been mapped to them."""
