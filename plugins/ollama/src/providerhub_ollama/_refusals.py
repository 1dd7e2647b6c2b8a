"""The words in which Ollama refuses a request, where those that all services share would be classed wrongly.

Reference: "Errors" in Ollama's API documentation, and the texts of its server.
"""

from __future__ import annotations

from providerhub import (
    CapabilityError,
    ContextLengthError,
    ModelUnavailableError,
    QuotaExceededError,
    RateLimitError,
    Refusal,
)

HINT = "; set num_ctx of the provider to more tokens, up to the model's own maximum"

REFUSALS = (
    Refusal(
        error=ContextLengthError,
        also=(500,),
        phrases=(
            r"available context size|exceeded max context length|(?:longer than|exceeds?) the (?:maximum )?context length",
            r"no user query found",  # the server has cut the question off
        ),
        hint=HINT,
    ),
    Refusal(error=CapabilityError, phrases=(r"\bthink value\b",), hint="; pass another `reasoning`"),
    Refusal(error=ModelUnavailableError, phrases=(r"does not support (?:chat|generate)\b",), hint="; ask for a chat model"),
    Refusal(error=ModelUnavailableError, only=(404,), phrases=(r"model .{1,200}not found",), hint="; `ollama pull` gets it"),
    Refusal(error=ModelUnavailableError, also=(500,), phrases=(r"requires more system memory",), hint="; use a smaller model"),
    Refusal(error=ModelUnavailableError, phrases=(r"requires a subscription",)),
    Refusal(error=QuotaExceededError, phrases=(r"reached your .{0,40}usage limit",)),
    Refusal(error=RateLimitError, also=(503,), phrases=(r"maximum pending requests exceeded",)),
)
"""They come before the lines for all services."""
