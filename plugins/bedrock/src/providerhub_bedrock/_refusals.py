"""The words in which Bedrock refuses a request, where those that all services share would be classed wrongly."""

from __future__ import annotations

from providerhub import (
    AuthenticationError,
    BadRequestError,
    CapabilityError,
    ContentPolicyError,
    ContextLengthError,
    ModelUnavailableError,
    QuotaExceededError,
    Refusal,
)

REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        error=AuthenticationError,
        codes=("expiredtokenexception", "expiredtoken", "requestexpired"),
        phrases=(r"(?:token|key)\b.{0,40}\bexpired", r"signature expired"),
        hint="; the credentials have expired: log in again (aws sso login), or set another `profile` or `api_key`",
    ),
    Refusal(
        error=AuthenticationError,
        codes=("unrecognizedclientexception", "invalidsignatureexception", "missingauthenticationtokenexception",
               "incompletesignatureexception", "invalidclienttokenid"),
        phrases=(r"make sure your api key is valid", r"security token .{0,40}invalid"),
        hint="; check the credentials of the `profile`, or `api_key`",
    ),
    Refusal(error=QuotaExceededError, phrases=(r"too many tokens per day",)),
    Refusal(
        error=ModelUnavailableError,
        phrases=(r"on-demand throughput isn.t supported",),
        hint="; ask for an inference profile, such as us.MODEL or global.MODEL",
    ),
    Refusal(
        error=ModelUnavailableError,
        phrases=(r"model identifier is invalid", r"end of (?:its )?life", r"marked .{0,30}as legacy", r"access to the model"),
        hint="; check the name, and `region`: it may not have the model",
    ),
    Refusal(error=ContextLengthError, phrases=(r"input tokens exceeded", r"too many input tokens", r"input is too long")),
    Refusal(error=ContentPolicyError, phrases=(r"blocked by (?:the )?content filter", r"guardrail was enabled")),
    Refusal(error=CapabilityError, phrases=(r"doesn't support the s3uri field",), hint="; send the bytes"),
    Refusal(error=CapabilityError, phrases=(r"support counting tokens",), hint="; name the model itself, or another provider"),
    Refusal(
        error=CapabilityError,
        capability="tools",
        phrases=(r"extraneous key \[tool(?:result|use|config)\]", r"doesn't support tool use"),
    ),
    Refusal(error=BadRequestError, phrases=(r"guardrail .{0,60}(?:does not exist|invalid)",), hint="; check guardrailConfig"),
)  # fmt: skip
"""They come before the lines for all services."""
