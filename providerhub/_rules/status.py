"""HTTP status, headers and body of a refused request → one error of the tree.

The classes are those of the table in `docs/explanation/retrying.md`. Vendors use statuses differently (429 for a used-up quota,
400 for an unknown model), so a code or a phrase in the body takes precedence over the status: `refusals.toml` lists them.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from providerhub._rules.refusals import find
from providerhub._values import errors
from providerhub._values.checks import WHOLE
from providerhub._values.refusal import Refusal

# Statuses after which the same provider may be tried again.
RETRYABLE_STATUSES = frozenset({408, 409, 425, 500, 502, 503, 504, 529})
# Texts and not patterns: `re` compiles and keeps a pattern at its first use, and most programs never see a refusal.
# Words of a 403 that is a verdict on the key or the account.
_ABOUT_KEY = (
    r"(?is)\b(api|access|secret|subscription|auth\w*|bearer)[ _-]?(key|token)s?\b|\b(credentials?|account|unregistered callers)\b"
    r"|\b(key|token)\b.{0,60}\b(valid|invalid|incorrect|wrong|expired|revoked|disabled|leaked|missing|permissions?)\b"
    r"|\b(invalid|incorrect|wrong|expired|missing)\b.{0,20}\b(key|token)\b"
    r"|\b(organi[sz]ation|project|team|user|workspace)\b.{0,40}"
    r"\b(suspended|disabled|deactivated|blocked|banned|deleted|archived|on hold)\b"
)
# Words of a 404 that is about the model and not about the address.
_ABOUT_MODEL = r"(?i)model|deployment|engine|no endpoints found"
_PAGE = r"(?i)[\ufeff\s]*<[a-z!?]"  # the beginning of a web page. A message such as `<400> invalid parameter` is not a page.
_BY_STATUS: Mapping[int, type[errors.ProviderError]] = {
    **dict.fromkeys((400, 413, 422), errors.BadRequestError),
    **dict.fromkeys((401, 403, 498), errors.AuthenticationError),
    **dict.fromkeys((404, 410), errors.ModelUnavailableError),
    402: errors.QuotaExceededError,
    405: errors.ProtocolError,
    407: errors.ProviderConnectionError,
    424: errors.ServerError,
    429: errors.RateLimitError,
}

# Headers in which services name a request, the most useful first. A proxy writes the last ones.
REQUEST_IDS = (
    "x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-ms-request-id", "x-goog-request-id", "requestid",
    "mistral-correlation-id", "x-debug-trace-id", "x-ds-trace-id", "x-generation-id", "x-trace-id", "x-correlation-id",
    "x-kong-request-id", "x-guploader-uploadid", "x-cloud-trace-context", "cf-ray",
)  # fmt: skip


def error_from_status(
    status: int,
    headers: Mapping[str, str] | None = None,
    body: bytes | str | Mapping[str, Any] = b"",
    *,
    asked: str = "",
    refusals: Iterable[Refusal] = (),
    redact: Callable[[str], str] = str,
) -> errors.ProviderError:
    """Map a refused HTTP request to an error for the retry chain.

    Args:
        status: The HTTP status; 200 for an error in the body of a successful answer. A status in such a body replaces it.
        headers: The headers of the answer; names in any case.
        body: The body of the answer, or the error object parsed from it. Its beginning becomes the `excerpt` of the error.
        asked: Method and address of the request, such as `"POST https://api.acme.example/v1/chat"`. The error names them if the
            address seems wrong. Default empty.
        refusals: Lines of the plugin, which come before the lines for all services. Default none.
        redact: A function that removes keys from the texts of the error. Default: no change, so pass a body without keys.

    Returns:
        The error, for the caller to raise. `retryable` and `retry_after` come from the body, `x-should-retry`, `retry-after-ms`,
        `Retry-After` (RFC 9110, section 10.2.3) and Google's `RetryInfo`. `request_id` comes from the headers or the body.

    Raises:
        TypeError: `status` is not a whole number.
    """
    WHOLE.check(status, "status", TypeError)
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    text = body if isinstance(body, str) else _decode(body)
    said = _said(body if isinstance(body, Mapping) else text, lowered)
    if 200 <= status < 300:
        status = said.status or 200
    found = None if said.is_page else find(status, said.codes, f"{said.message} {said.details}".lower(), refusals)
    kind = found.line.error if found else _kind(status, said)
    wait = retry_after(lowered)
    wait = _retry_info(text, in_words=kind is errors.RateLimitError) if wait is None else wait
    hint = (found.line.hint if found else "") or _hint(kind, status, asked)
    pause = "" if wait is None else f" (Retry-After: {wait:g} s)"
    error = kind(
        f"{_sentence(status, redact(said.message or text))}{pause}{hint}",
        status=status,
        retryable=_retryable(kind, status, lowered.get("x-should-retry")),
        retry_after=wait,
        excerpt=redact(text),
        request_id=request_id(lowered) or said.request_id,
    )
    if found and isinstance(error, errors.CapabilityError):
        error.capability = found.capability
    elif found and isinstance(error, errors.ServerError):
        error.loading = found.capability == "loading"
    return error


def request_id(headers: Mapping[str, str]) -> str:
    """Return the service's identifier of an HTTP request; empty when the headers of the answer have none."""
    named = {lowered: name for name in headers if (lowered := name.lower()) in REQUEST_IDS}
    return next((headers[named[name]] for name in REQUEST_IDS if name in named), "") if named else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that the provider asks the client to wait: `retry-after-ms`, else `Retry-After`; `None` without a valid value.

    An HTTP date is relative to the answer's `Date`, so that a wrong local clock does not matter.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = _number(headers.get(name))
        # Azure sends zero milliseconds in one header, and the true seconds in another.
        if value is not None and math.isfinite(value) and (value > 0 or scale == 1.0):
            return value * scale
    until, base = _stamp(headers.get("retry-after")), _stamp(headers.get("date"))
    return None if until is None else max(0.0, until - (time.time() if base is None else base))


# Google's delay (google.rpc.RetryInfo), such as `"34.07s"`. A gateway may quote the error inside a text.
_RETRY_INFO = r'retryDelay\\*"\s*:\s*\\*"([\d.]+)s'


# OpenAI's "Please try again in 7m12.5s", Azure's "Please retry after 26 seconds", GitHub's "Please wait 42 seconds". An error
# inside a stream has no header.
_WAIT_IN_WORDS = r"(?i)\b(?:(?:try again|retry) (?:in|after)|please wait) ((?:\d{1,6}(?:\.\d{1,6})? ?(?:h|ms?|s)[a-z]* ?)+)"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def _retry_info(text: str, *, in_words: bool) -> float | None:
    """Return the seconds in the details of a Google error, or else in the text of the message."""
    match = re.search(_RETRY_INFO, text)
    value = _number(match[1]) if match else None
    if value is not None and math.isfinite(value):
        return value
    said = re.search(_WAIT_IN_WORDS, text) if in_words else None
    return sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+) ?(h|ms|m|s)", said[1].lower())) if said else None


def _number(text: str | None) -> float | None:
    # ASCII digits only: float() also accepts the digits of other scripts, underscores and words.
    return float(text) if text and re.fullmatch(r"\s*\d+(\.\d+)?\s*", text, re.ASCII) else None


def _stamp(text: str | None) -> float | None:
    """The time of an HTTP date; `None` for an invalid one. A zone or a year with too many digits raises `OverflowError`."""
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # slow to import; few services send a date

    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _decode(body: bytes | Mapping[str, Any]) -> str:
    return body.decode("utf-8", "replace") if isinstance(body, bytes | bytearray) else _written(body)


def _written(value: Any) -> str:
    try:
        return json.dumps(value, default=str)
    except (ValueError, RecursionError):  # a nested value that could be parsed may be too deep to write
        return ""


class _Said(NamedTuple):
    codes: frozenset[str] = frozenset()
    message: str = ""
    details: str = ""
    status: int = 0
    request_id: str = ""

    @property
    def is_page(self) -> bool:
        """Whether a web server or a firewall wrote the body, in place of the service."""
        return re.match(_PAGE, self.message) is not None


_MESSAGES = ("message", "Message", "detail", "status_msg", "error_msg", "msg")
_CODES = ("type", "code", "status", "reason", "error_type", "status_code", "__type")


def _said(body: str | Mapping[str, Any], headers: Mapping[str, str]) -> _Said:
    """Read `{"error": {...}}`, `{"error": "…"}`, `{"errors": [...]}`, `{"message": "…"}`, a list or event with one, or a text."""
    found = [one for one in _objects(body) if one]
    objects = [one for one in found if isinstance(one, Mapping)]
    parts = [part for one in objects for part in (one.get("innererror"), *_list(one.get("details"))) if isinstance(part, Mapping)]
    codes = [str(part[name]) for part in (*objects, *parts) for name in _CODES if isinstance(part.get(name), str | int)]
    codes.append(headers.get("x-amzn-errortype", "").partition(":")[0])
    texts = (one if isinstance(one, str) else _first(one, *_MESSAGES) for one in found)
    message = next(filter(None, texts), "")
    metadata = (one["metadata"].get("raw") for one in objects if isinstance(one.get("metadata"), Mapping))
    raw = next(filter(None, (*metadata, *(one.get("error_description") for one in objects))), None)
    return _Said(
        frozenset(re.sub(r"[- ]", "_", code.rpartition("#")[2]).lower() for code in codes),
        f"{message}: {raw}" if isinstance(raw, str) else message,
        " ".join(_written(one["details"]) for one in objects if one.get("details")),
        next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code, re.ASCII)), 0),
        next((one["request_id"] for one in objects if isinstance(one.get("request_id"), str)), ""),
    )


def _objects(body: str | Mapping[str, Any]) -> list[Any]:
    """The error object and the object around it, the inner one first; a text if the body is not JSON."""
    parsed: Any = body
    if isinstance(body, str):
        event = re.match(r"\s*(?:event:.*\s+)?data: ?(\{.*)", body)  # a gateway refuses a request for a stream with an event
        try:
            parsed = json.loads(event[1] if event else body)
        except (ValueError, RecursionError):
            return [body]
    if isinstance(parsed, list) and len(parsed) == 1:  # Google wraps the error in a list
        parsed = parsed[0]
    if not isinstance(parsed, Mapping):
        return [parsed]
    inner = parsed.get("error") or parsed.get("errors") or parsed.get("base_resp")
    return [inner[0] if isinstance(inner, list) else inner, parsed]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _first(found: Any, *names: str) -> str:
    value = next((found[name] for name in names if found.get(name)), "") if isinstance(found, Mapping) else ""
    return value if isinstance(value, str) else _written(value)


def _kind(status: int, said: _Said) -> type[errors.ProviderError]:
    """The class of a refusal that no line of the table fits."""
    if status in RETRYABLE_STATUSES or status >= 500 or 200 <= status < 300:
        return errors.ServerError
    if status == 403 and (said.is_page or not re.search(_ABOUT_KEY, said.message)):
        return errors.ForbiddenError
    if status == 404 and said.message and (said.is_page or not re.search(_ABOUT_MODEL, " ".join([*said.codes, said.message]))):
        return errors.ProtocolError
    return _BY_STATUS.get(status, errors.ProtocolError)


def _hint(kind: type[errors.ProviderError], status: int, asked: str) -> str:
    """The fix for a kind of refusal whose text seldom names the fix."""
    if status == 407:
        return "; the proxy refuses the request: check the user name and the password in `proxies`"
    if kind is errors.ProtocolError and status in {404, 405}:
        return f"; check the setting `url`{f'; asked {asked}' if asked else ''}"
    if issubclass(kind, errors.AuthenticationError) and kind.about_key and status in {400, 401, 403}:
        return f"; check the setting `api_key`, or the {errors.KEY_VARIABLE}"
    return ""


def _retryable(kind: type[errors.ProviderError], status: int, should_retry: str | None) -> bool | None:
    is_final = kind is errors.ServerError and status >= 300 and status not in RETRYABLE_STATUSES
    refused = should_retry is not None and should_retry.strip().lower() == "false"
    return False if refused or is_final or kind is errors.ProviderConnectionError else None


def _sentence(status: int, message: str) -> str:
    head = f"HTTP {status}" if not 200 <= status < 300 else "an error inside a successful answer"
    first = " ".join(message.split())[:300]
    return f"{head}: {first}" if first else head
