"""The refusals of vendors for which the lines for all services would find a wrong error class."""

from __future__ import annotations

from collections.abc import Mapping

from providerhub import (
    AuthenticationError,
    BadRequestError,
    ContentPolicyError,
    ContextLengthError,
    ModelUnavailableError,
    QuotaExceededError,
    RateLimitError,
    Refusal,
    ServerError,
)

_ZHIPU = (
    Refusal(error=AuthenticationError, codes=("1000", "1001", "1002", "1003", "1004"), also=(401,)),
    Refusal(error=QuotaExceededError, codes=("1113", "1304", "1308", "1309"), also=(429,)),
    Refusal(error=RateLimitError, codes=("1302", "1303", "1305"), also=(429,)),
    Refusal(error=ModelUnavailableError, codes=("1211", "1220", "1221", "1222")),
    Refusal(error=ContextLengthError, codes=("1261",)),
    Refusal(error=ContentPolicyError, codes=("1301",)),
)

REFUSALS: Mapping[str, tuple[Refusal, ...]] = {
    # The model wrote a call or an object that does not fit its schema. Another attempt, or another model, may succeed.
    "groq": (Refusal(error=ServerError, codes=("tool_use_failed", "json_validate_failed")),),
    "minimax": (
        Refusal(error=AuthenticationError, codes=("1004", "2049")),
        Refusal(error=RateLimitError, codes=("1002", "1041", "2045")),
        Refusal(error=QuotaExceededError, codes=("1008", "2056")),
        Refusal(error=ContentPolicyError, codes=("1026", "1027")),
        Refusal(error=ContextLengthError, codes=("1039",)),
        Refusal(error=ServerError, codes=("1000", "1001", "1013", "1024", "1033")),
        Refusal(error=BadRequestError, codes=("2013", "20132")),
    ),
    "zai": _ZHIPU,
    "zhipu": _ZHIPU,
}
"""Vendor → lines, which come before the lines for all services. The numbers come from the vendors' tables of error codes."""


def stream_options_refused(name: str) -> Refusal:
    """Return the line for a server that does not know `stream_options`, with the setting that leaves it out.

    Args:
        name: The name of the instance.
    """
    hint = f'; set stream_usage = "no" in [providers.{name}.options]'
    return Refusal(error=BadRequestError, phrases=["stream_options"], hint=hint, only=[200, 400, 422])
