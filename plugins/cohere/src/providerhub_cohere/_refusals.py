"""The refusals of Cohere for which the lines for all services would find a wrong error class.

Reference: "Errors" and "Rate limits" in Cohere's documentation, and the description of the API. Status 498 means that the
request or the answer holds a token of a list of forbidden ones.
"""

from __future__ import annotations

from providerhub import ContentPolicyError, QuotaExceededError, RateLimitError, Refusal

REFUSALS = (
    Refusal(error=QuotaExceededError, phrases=(r"api calls ?/ ?month",)),  # monthly, with a trial key; per minute, it is a rate
    Refusal(error=RateLimitError, phrases=(r"api calls ?/ ?minute",)),
    Refusal(
        error=ContentPolicyError,
        only=(498,),
        phrases=(r"deny|denied|block|forbidden|prohibited|\blist", r"\b(?:prompt|request|response)\b"),
    ),
)
"""They come before the lines for all services."""
