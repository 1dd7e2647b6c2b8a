"""HTTP status, headers and body of a refused request → one error of the tree.

The classes are those of the reliability table in the documentation. Vendors use statuses differently (429 for a used-up quota,
400 for an unknown model), so a code or a phrase in the body outranks the status.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from providerhub._values.checks import WHOLE
from providerhub._values.errors import (
    AuthenticationError,
    BadRequestError,
    ContentPolicyError,
    ContextLengthError,
    ForbiddenError,
    ModelUnavailableError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)

RETRYABLE_STATUSES = frozenset({408, 409, 425, 500, 502, 503, 504, 529})
"""Statuses after which the same provider may be tried again."""

_BY_CODE: Mapping[str, type[ProviderError]] = {
    "insufficient_quota": QuotaExceededError,
    "quota_exceeded": QuotaExceededError,
    "billing_error": QuotaExceededError,
    "billing_hard_limit_reached": QuotaExceededError,
    "context_length_exceeded": ContextLengthError,
    "content_policy_violation": ContentPolicyError,
    "content_filter": ContentPolicyError,
    "model_not_found": ModelUnavailableError,
    "rate_limit_exceeded": RateLimitError,
    "rate_limit_error": RateLimitError,
    "throttlingexception": RateLimitError,
    "overloaded_error": ServerError,
    "api_error": ServerError,
    "server_error": ServerError,
    "internal_server_error": ServerError,
    "timeout_error": ServerError,
    "authentication_error": AuthenticationError,
    "permission_error": AuthenticationError,
    "invalid_api_key": AuthenticationError,
}

_BY_PHRASE: tuple[tuple[str, type[ProviderError]], ...] = (
    (
        (
            r"exceeded your current quota|quota (has been |is )?(used up|exhausted)"
            r"|insufficient (funds|credits|balance)|balance is too low"
        ),
        QuotaExceededError,
    ),
    (
        r"(maximum|exceeds?( the)?) context (length|window|size)|context ?window ?exceeded|prompt is too long|too many tokens",
        ContextLengthError,
    ),
    (r"content (policy|management policy|filter)", ContentPolicyError),
    (
        r"model\b.{0,120}?\b(does not exist|not found|is not available|unknown)|unknown model|no such model",
        ModelUnavailableError,
    ),
)

_ABOUT_KEY = re.compile(
    r"\b(api|access|secret|subscription|auth\w*|bearer)[ _-]?(key|token)s?\b|\b(credentials?|account|unregistered callers)\b"
    r"|\b(key|token)\b.{0,60}\b(valid|invalid|incorrect|wrong|expired|revoked|disabled|leaked|missing|permissions?)\b"
    r"|\b(invalid|incorrect|wrong|expired|missing)\b.{0,20}\b(key|token)\b"
    r"|\b(organi[sz]ation|project|team|user|workspace)\b.{0,40}"
    r"\b(suspended|disabled|deactivated|blocked|banned|deleted|archived|on hold)\b",
    re.IGNORECASE | re.DOTALL,
)
"""Words of a 403 that is a verdict on the key or the account."""

_ABOUT_MODEL = re.compile(r"model|deployment|engine|no endpoints found", re.IGNORECASE)
"""Words of a 404 that is about the model and not about the address."""

_BLANK = "\ufeff \t\r\n"
"""Characters that may stand before a page."""

_BY_STATUS: Mapping[int, type[ProviderError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: QuotaExceededError,
    403: AuthenticationError,
    404: ModelUnavailableError,
    405: ProtocolError,
    407: ProviderConnectionError,
    410: ModelUnavailableError,
    413: BadRequestError,
    422: BadRequestError,
    429: RateLimitError,
}


def error_from_status(
    status: int, headers: Mapping[str, str] | None = None, body: bytes | str | Mapping[str, Any] = b"", *, asked: str = ""
) -> ProviderError:
    """Map a refused HTTP request to an error for the retry chain.

    Args:
        status: The HTTP status; 200 for an error in the body of a successful answer.
        headers: The headers of the answer; the case of their names does not matter.
        body: The body of the answer, or the error object parsed from it. Its beginning becomes the `excerpt` of the error,
            so remove keys from it before.
        asked: Method and address of the request, such as `"POST https://api.acme.example/v1/chat"`. The error names them if the
            address seems to be wrong. Default empty.

    Returns:
        The error, for the caller to raise. `retryable` and `retry_after` follow the body, `x-should-retry`,
        `retry-after-ms`, `Retry-After` (RFC 9110, section 10.2.3) and Google's `RetryInfo` in the body.

    Raises:
        TypeError: `status` is not a whole number.
    """
    WHOLE.check(status, "status", TypeError)
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    text = body if isinstance(body, str) else _decode(body)
    parsed = _parsed(body if isinstance(body, Mapping) else text)
    code, message = _code_and_message(parsed)
    kind = _kind(status, code, message)
    wait = retry_after(lowered)
    return kind(
        f"{_sentence(status, message or text)}{_hint(kind, status, asked)}",
        status=status,
        retryable=_retryable(kind, status, lowered.get("x-should-retry")),
        retry_after=_retry_info(parsed) if wait is None else wait,
        excerpt=text,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that the provider asks the client to wait.

    Args:
        headers: The headers of the answer, with names in lower case.

    Returns:
        The seconds of `retry-after-ms`, unless they are zero; else of `Retry-After`: a number, or an HTTP date relative to the
        answer's `Date`, so that a wrong local clock does not matter. `None` when the value is absent, negative, infinite or
        invalid.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = _number(headers.get(name))
        # Azure sends zero milliseconds beside the seconds that it means.
        if value is not None and math.isfinite(value) and (value > 0 or scale == 1.0):
            return value * scale
    return _until_date(headers.get("retry-after"), headers.get("date"))


def _retry_info(parsed: Any) -> float | None:
    """Return the seconds that Google states in the error's details (google.rpc.RetryInfo), such as `"34.07s"`."""
    details = parsed.get("details") if isinstance(parsed, Mapping) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping) and str(detail.get("@type", "")).endswith("google.rpc.RetryInfo"):
            delay = detail.get("retryDelay")
            value = _number(delay.removesuffix("s")) if isinstance(delay, str) else None
            return value if value is not None and math.isfinite(value) else None
    return None


def _number(text: str | None) -> float | None:
    # ASCII digits only: float() also accepts the digits of other scripts, underscores and words.
    return float(text) if text and re.fullmatch(r"\s*\d+(\.\d+)?\s*", text, re.ASCII) else None


_NO_DATE = (TypeError, ValueError, OverflowError)
"""The errors of an invalid date. A zone or a year with too many digits raises `OverflowError`."""


def _until_date(text: str | None, now: str | None) -> float | None:
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # slow to import; few services send a date

    try:
        until = parsedate_to_datetime(text).timestamp()
    except _NO_DATE:
        return None
    try:
        base = parsedate_to_datetime(now or "").timestamp()
    except _NO_DATE:
        base = time.time()
    return max(0.0, until - base)


def _decode(body: bytes | Mapping[str, Any]) -> str:
    return body.decode("utf-8", "replace") if isinstance(body, bytes | bytearray) else _written(body)


def _written(value: Any) -> str:
    try:
        text: str = _json().dumps(value, default=str)
    except (ValueError, RecursionError):  # a nested value that could be parsed may be too deep to write
        return ""
    return text


def _json() -> ModuleType:
    import json  # slow to import; only a refused request needs it

    return json


def _parsed(body: str | Mapping[str, Any]) -> Any:
    """The error object within `{"error": {...}}` and `[{"error": {...}}]`, or the body itself; a text if it is not JSON."""
    parsed: Any = body
    if isinstance(body, str):
        try:
            parsed = _json().loads(body)
        except (ValueError, RecursionError):
            return body
    if isinstance(parsed, list) and len(parsed) == 1:  # Google wraps the error in a list
        parsed = parsed[0]
    return (parsed.get("error") or parsed) if isinstance(parsed, Mapping) else parsed


def _code_and_message(parsed: Any) -> tuple[str, str]:
    """The vendor's code and message, from `{"error": {...}}`, `{"error": "…"}` or `{"message": "…"}`."""
    if isinstance(parsed, str):
        return "", parsed
    if not isinstance(parsed, Mapping):
        return "", ""
    codes = [value for value in (parsed.get("code"), parsed.get("type")) if isinstance(value, str)]
    code = next((value for value in codes if value.lower() in _BY_CODE), next(iter(codes), ""))
    message = parsed.get("message") or parsed.get("detail") or ""
    return code.lower(), message if isinstance(message, str) else _written(message)


def _kind(status: int, code: str, message: str) -> type[ProviderError]:
    if status in RETRYABLE_STATUSES or status >= 500:
        return ServerError
    if code in _BY_CODE:
        return _BY_CODE[code]
    is_page = message.lstrip(_BLANK).startswith("<")  # written by a web server or a firewall, in place of the service
    if status == 403 and (is_page or not _ABOUT_KEY.search(message)):
        return ForbiddenError
    by_phrase = None if is_page or status in {401, 402, 403, 407} else _by_phrase(message)
    if by_phrase is None and status == 404 and message and (is_page or not _ABOUT_MODEL.search(f"{code} {message}")):
        return ProtocolError
    if by_phrase is None and 200 <= status < 300:
        return BadRequestError if code == "invalid_request_error" else ServerError
    return by_phrase or _BY_STATUS.get(status, ProtocolError)


def _by_phrase(message: str) -> type[ProviderError] | None:
    return next((kind for pattern, kind in _BY_PHRASE if re.search(pattern, message, re.IGNORECASE | re.DOTALL)), None)


def _hint(kind: type[ProviderError], status: int, asked: str) -> str:
    """The remedy for a refusal whose own text seldom names it."""
    if status == 407:
        return "; the proxy refuses the request: check the user name and the password in `proxies`"
    if kind is ProtocolError and status in {404, 405}:
        return f"; check the address{f'; asked {asked}' if asked else ''}"
    return ""


def _retryable(kind: type[ProviderError], status: int, should_retry: str | None) -> bool | None:
    if should_retry is not None and should_retry.strip().lower() == "false":
        return False
    if kind is ProviderConnectionError or (kind is ServerError and status >= 300 and status not in RETRYABLE_STATUSES):
        return False
    return None


def _sentence(status: int, message: str) -> str:
    head = f"HTTP {status}" if not 200 <= status < 300 else "an error inside a successful answer"
    first = " ".join(message.split())[:300]
    return f"{head}: {first}" if first else head
