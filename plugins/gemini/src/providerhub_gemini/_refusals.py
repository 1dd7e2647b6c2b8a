"""The words in which these services refuse a request, where those that all services share would be classed wrongly.

Reference: "Troubleshooting" of the Gemini API, "API errors" of Vertex AI, and google.rpc.Code.
"""

from __future__ import annotations

from providerhub import AuthenticationError, BadRequestError, CapabilityError, ModelUnavailableError, Refusal

REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        error=BadRequestError,
        phrases=(r"thinking[ _]?budget.{0,40}invalid|budget \d+ is invalid", r"thinking[ _]?level.{0,40}invalid"),
        hint="; pass another `reasoning`",
    ),
    Refusal(error=CapabilityError, capability="reasoning", phrases=(r"thinking (?:level|budget) is not supported",)),
    Refusal(
        error=CapabilityError,
        capability="combination",
        phrases=(r"tool use with function calling is unsupported", r"multiple tools are supported only when"),
    ),
    Refusal(error=CapabilityError, phrases=(r"unsupported mime ?type", r"mime ?type .{0,80}(?:is not|isn't|not) supported")),
    Refusal(
        error=ModelUnavailableError,
        phrases=(r"is not found for api version",),
        hint="; check the model's name, or set `api_version` of the provider",
    ),
    Refusal(
        error=ModelUnavailableError,
        phrases=(r"publisher model .{0,300}not found",),
        hint="; check the model's name, and `project` and `location` of the provider",
    ),
    Refusal(
        error=AuthenticationError,
        phrases=(
            r"permission '?aiplatform\.",
            r"(?:api|service) has not been used in project",
            r"project .{0,80}(?:not found|denied)",
        ),
        hint="; check `project` of the provider, and the rights of the credentials in it",
    ),
)
"""They come before the lines for all services."""
