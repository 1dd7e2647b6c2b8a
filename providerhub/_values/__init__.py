"""The value classes, the error tree and the provider protocol: everything that the other layers speak about.

All names here are public: users import them from `providerhub`.
"""

from providerhub._values.answer import Citation, Completion, Media, ToolCall, Turn
from providerhub._values.capabilities import ModelInfo, ProviderInfo, Setting
from providerhub._values.config import ProviderConfig, Secret
from providerhub._values.cost import Cost, Prices, Usage
from providerhub._values.embeddings import EmbeddingRequest, Embeddings
from providerhub._values.errors import (
    AllProvidersFailedError,
    AmbiguousProviderError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CallerError,
    CapabilityError,
    ConfigurationError,
    ContentPolicyError,
    ContextLengthError,
    DeadlineExceededError,
    EmptyAnswerError,
    ForbiddenError,
    InvalidOutputError,
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
    ShortageError,
    StreamInterruptedError,
    TLSError,
)
from providerhub._values.events import (
    Detail,
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Restarted,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from providerhub._values.gate import AttemptGate
from providerhub._values.health import HealthRecord
from providerhub._values.knobs import BreakerRules, BudgetRules, RetryPolicy, Timeout
from providerhub._values.parts import audio, file, image
from providerhub._values.provider import CallContext, Provider
from providerhub._values.record import CallRecord
from providerhub._values.refusal import Refusal
from providerhub._values.request import Message, Model, Request
from providerhub._values.request import Options as Options
from providerhub._values.route import Attempt, Candidate, Route, RoutePlan, Skip
from providerhub._values.shared import Claim, Fact, Shared, SharedState
from providerhub._values.value import publish
from providerhub._values.vendor_batch import VendorBatch

__all__ = [
    "AllProvidersFailedError",
    "AmbiguousProviderError",
    "Attempt",
    "AttemptGate",
    "AuthenticationError",
    "BadRequestError",
    "BreakerRules",
    "BudgetExceededError",
    "BudgetRules",
    "CallContext",
    "CallRecord",
    "CallerError",
    "Candidate",
    "CapabilityError",
    "Citation",
    "Claim",
    "Completion",
    "ConfigurationError",
    "ContentPolicyError",
    "ContextLengthError",
    "Cost",
    "DeadlineExceededError",
    "Detail",
    "EmbeddingRequest",
    "Embeddings",
    "EmptyAnswerError",
    "Event",
    "Fact",
    "Finish",
    "ForbiddenError",
    "HealthRecord",
    "InvalidOutputError",
    "InvalidRequestError",
    "Media",
    "Message",
    "Model",
    "ModelInfo",
    "ModelNotFoundError",
    "ModelUnavailableError",
    "NoCapableProviderError",
    "PluginError",
    "Prices",
    "ProtocolError",
    "Provider",
    "ProviderConfig",
    "ProviderConnectionError",
    "ProviderError",
    "ProviderHubError",
    "ProviderInfo",
    "ProviderTimeoutError",
    "QuotaExceededError",
    "RateLimitError",
    "ReasoningDelta",
    "Refusal",
    "RefusalDelta",
    "Request",
    "Restarted",
    "RetryPolicy",
    "Route",
    "RoutePlan",
    "Secret",
    "ServerError",
    "Setting",
    "Shared",
    "SharedState",
    "ShortageError",
    "Skip",
    "StreamInterruptedError",
    "TLSError",
    "TextDelta",
    "Timeout",
    "ToolCall",
    "ToolCallDelta",
    "Turn",
    "Usage",
    "UsageDelta",
    "VendorBatch",
    "audio",
    "file",
    "image",
]  # fmt: skip

publish(globals())
