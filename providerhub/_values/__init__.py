"""Value classes: frozen, slotted, and without knowledge of anything above them."""

from providerhub._values.answer import Completion, ToolCall, Usage
from providerhub._values.config import ProviderConfig, Secret
from providerhub._values.events import (
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Restarted,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from providerhub._values.knobs import BreakerRules, BudgetRules, RetryPolicy, Timeout
from providerhub._values.request import Message, Model, Options, Request
from providerhub._values.route import Attempt, Candidate, Route, RoutePlan, Skip

__all__ = [
    "Attempt",
    "BreakerRules",
    "BudgetRules",
    "Candidate",
    "Completion",
    "Event",
    "Finish",
    "Message",
    "Model",
    "Options",
    "ProviderConfig",
    "ReasoningDelta",
    "RefusalDelta",
    "Request",
    "Restarted",
    "RetryPolicy",
    "Route",
    "RoutePlan",
    "Secret",
    "Skip",
    "TextDelta",
    "Timeout",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
    "UsageDelta",
]
