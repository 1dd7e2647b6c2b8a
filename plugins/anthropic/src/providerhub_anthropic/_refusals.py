"""The words in which this API refuses a request, where those that all services share would be classed wrongly.

Reference: "Errors" in the Anthropic API reference, and the migration guides of the models.
"""

from __future__ import annotations

from providerhub import AuthenticationError, BadRequestError, CapabilityError, ContextLengthError, Refusal

REFUSALS: tuple[Refusal, ...] = (
    # Nothing is remembered where the model has the ability, and only this use of it is refused.
    Refusal(error=CapabilityError, phrases=(r"role '?system'? is not supported",), hint="; move the text to the beginning"),
    Refusal(error=CapabilityError, phrases=(r"does not support tool types",)),
    Refusal(
        error=CapabilityError,
        phrases=(r"thinking\.type\.\w+\W{0,3} is not supported", r"not support the effort parameter", r"effort level"),
        hint="; pass another `reasoning`",
    ),
    Refusal(
        error=CapabilityError,
        capability="tool_choice",
        phrases=(r"forced tool use", r"tool_choice[^.]{0,60}\bnot (?:supported|compatible)\b(?!.{0,20}thinking)"),
    ),
    Refusal(
        error=CapabilityError,
        phrases=(r"(?P<capability>temperature|top_p|top_k)\W{0,3} (?:is|are) (?:deprecated|not supported)",),
        hint="; leave it out",
    ),
    Refusal(
        error=CapabilityError,
        capability="json_schema",
        phrases=(r"not support output format", r"output_config\.format\b.{0,40}not supported"),
    ),
    Refusal(
        error=ContextLengthError,
        also=(429,),
        phrases=(r"long context beta is not", r"extra usage is required for long context"),
    ),
    Refusal(error=CapabilityError, phrases=(r"url sources are not supported",), hint="; send the bytes"),  # clouds
    Refusal(error=AuthenticationError, phrases=(r"organization has been disabled",)),
    Refusal(
        error=BadRequestError,
        phrases=(r"max_tokens: \d+ > \d+",),
        hint="; pass a smaller max_tokens, or set `max_tokens` of the provider",
    ),
)
"""They come before the lines for all services."""
