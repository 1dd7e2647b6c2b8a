"""The value classes, the error tree and the provider protocol: the common vocabulary of the other layers.

All names here are public: users import them from `providerhub`. Each module is imported when one of its names is first used (PEP
562): a usual call needs half of the modules, and the command line's help needs none. Type checkers read `__init__.pyi`.
"""

import sys as _sys
from importlib import import_module as _import_module

_NAMES = {
    "answer": "Citation Completion Media ToolCall Turn",
    "capabilities": "ModelInfo ProviderInfo Setting",
    "config": "ProviderConfig Secret",
    "cost": "Cost Prices Usage",
    "errors": (
        "AllProvidersFailedError AmbiguousProviderError AuthenticationError BadRequestError BudgetExceededError "
        "CallerError CapabilityError ConfigurationError ContentPolicyError ContextLengthError DeadlineExceededError "
        "EmptyAnswerError ForbiddenError InvalidOutputError InvalidRequestError ModelNotFoundError ModelUnavailableError "
        "NoCapableProviderError PluginError ProtocolError ProviderConnectionError ProviderError ProviderHubError "
        "ProviderTimeoutError QuotaExceededError RateLimitError ServerError ShortageError StreamInterruptedError TLSError"
    ),
    "events": "Detail Event Finish ReasoningDelta RefusalDelta Restarted TextDelta ToolCallDelta UsageDelta",
    "knobs": "BreakerRules BudgetRules RetryPolicy Timeout",
    "parts": "audio file image",
    "provider": "CallContext Provider",
    "record": "AttemptGate CallRecord HealthRecord",
    "refusal": "Refusal RefusalTable",
    "request": "EmbeddingRequest Embeddings Message Model Request TokenCount",
    "route": "Attempt Candidate Route RoutePlan Skip",
    "shared": "Claim Fact Shared SharedState",
    "vendor_batch": "VendorBatch",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [*_MODULES]  # noqa: PLE0604 -- they are texts
_MODULES["Options"] = "request"  # not public


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def loaded() -> dict[str, object]:
    """The public names of the modules that are imported by now, with their values."""
    modules = {name: _sys.modules.get(f"{__name__}.{_MODULES[name]}") for name in __all__}
    return {name: getattr(module, name) for name, module in modules.items() if hasattr(module, name)}
