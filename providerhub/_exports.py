"""The public names of `providerhub`. The package imports them when its first attribute is read."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from providerhub._calling.async_stream import AsyncStream
from providerhub._calling.many import Outcome
from providerhub._calling.stream import Stream
from providerhub._default import acomplete, complete, complete_many, explain
from providerhub._finding.views import InstanceView
from providerhub._hub import Hub
from providerhub._rules.status import error_from_status
from providerhub._settings.settings import Settings
from providerhub._values import (
    Attempt,
    BreakerRules,
    BudgetRules,
    Candidate,
    Completion,
    Event,
    Finish,
    Message,
    Model,
    ProviderConfig,
    ReasoningDelta,
    RefusalDelta,
    Request,
    Restarted,
    RetryPolicy,
    Route,
    RoutePlan,
    Secret,
    Skip,
    TextDelta,
    Timeout,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from providerhub._values.capabilities import ModelInfo, ProviderInfo, Setting
from providerhub._values.errors import (
    AllProvidersFailedError,
    AmbiguousProviderError,
    AuthenticationError,
    BadRequestError,
    CallerError,
    ConfigurationError,
    ContentPolicyError,
    ContextLengthError,
    DeadlineExceededError,
    EmptyAnswerError,
    InvalidRequestError,
    ModelNotFoundError,
    ModelUnavailableError,
    NoCapableProviderError,
    PluginError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderHubError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    TLSError,
)
from providerhub._values.provider import CallContext, Provider
from providerhub._values.value import publish
from providerhub._version import __version__
from providerhub.hookspecs import hookimpl

__all__ = [
    "AllProvidersFailedError", "AmbiguousProviderError", "AsyncStream", "Attempt", "AuthenticationError", "BadRequestError",
    "BreakerRules", "BudgetRules", "CallContext", "CallerError", "Candidate", "Completion", "ConfigurationError",
    "ContentPolicyError", "ContextLengthError", "DeadlineExceededError", "EmptyAnswerError", "Event", "Finish", "Hub",
    "InstanceView", "InvalidRequestError", "Message", "Model", "ModelInfo", "ModelNotFoundError", "ModelUnavailableError",
    "NoCapableProviderError", "Outcome", "PluginError", "ProtocolError", "Provider", "ProviderConfig",
    "ProviderConnectionError", "ProviderError", "ProviderHubError", "ProviderInfo", "ProviderTimeoutError",
    "QuotaExceededError", "RateLimitError", "ReasoningDelta", "RefusalDelta", "Request", "Restarted", "RetryPolicy", "Route",
    "RoutePlan", "Secret", "ServerError", "Setting", "Settings", "Skip", "Stream", "StreamInterruptedError", "TLSError",
    "TextDelta", "Timeout", "ToolCall", "ToolCallDelta", "Usage", "UsageDelta", "__version__", "acomplete", "complete",
    "complete_many", "error_from_status", "explain", "hookimpl",
]  # fmt: skip

HINTS = {"Any": Any, "ClassVar": ClassVar, "Mapping": Mapping, "Sequence": Sequence}
"""Names in the annotations of public classes. `typing.get_type_hints` looks for them in the module that a class names."""

publish(globals())
