"""One finished call as rows of the tables."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from providerhub import CallRecord, ProviderError
from providerhub_journal._config import Config, Row

UNIT = 10**9  # the same as in `_database`, which is slow to import

_COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
_MEASURED = (*_COUNTS, "cost", "currency")


def call_row(call: CallRecord, config: Config) -> Row:
    """The row of a call, with the rows of its attempts under `"tries"`."""
    answer = call.completion
    tries = [_attempt_row(attempt, call.id, config) for attempt in call.route.attempts]
    last = tries[-1] if tries else {}
    started = call.started
    row = {
        "id": call.id,
        "parent": call.parent,
        "started": started,
        "day": time.strftime("%Y-%m-%d", time.gmtime(started)),
        "program": config.program,
        "asked": clean(_asked(call.asked)),
        "stream": call.request.stream,
        "cached": bool(answer is not None and answer.cached),
        "attempts": len(tries),
        "metadata": None,
        "provider": answer.provider if answer is not None else last.get("provider"),
        "model": clean(answer.model) if answer is not None else last.get("model"),
        "served_model": clean(answer.served_model) if answer is not None else None,
        "request_id": answer.request_id if answer is not None else last.get("request_id"),
        "outcome": _outcome(call),
        "duration": call.route.duration,
        "first_token": next((one["started"] + one["first_token"] for one in tries if one["first_token"] is not None), None),
        "prompt": clean(list(call.request.messages)) if config.content else None,
        "answer": clean(answer.text) if config.content and answer is not None else None,
        **_error(call.error, config),
        **(_measures(call) if len(tries) != 1 or last["outcome"] != "ok" else {name: last[name] for name in _MEASURED}),
    }
    return {**row, "tries": tries}


def _outcome(call: CallRecord) -> str:
    if call.error is not None:
        return "error"
    is_whole = call.completion is not None and (call.completion.cached or any(one.outcome == "ok" for one in call.route.attempts))
    return "ok" if is_whole else "abandoned"


def _attempt_row(attempt: Any, call: str, config: Config) -> Row:
    return {
        "call": call,
        "number": attempt.number,
        "waited": attempt.waited,
        "started": attempt.started,
        "notes": clean(attempt.notes) if attempt.notes else None,
        "provider": attempt.provider,
        "model": clean(attempt.model),
        "served_model": clean(attempt.served_model),
        "request_id": attempt.request_id,
        "outcome": attempt.outcome,
        "duration": attempt.duration,
        "first_token": attempt.first_token,
        **_error(attempt.error, config),
        **_measures(attempt),
    }


def _error(error: BaseException | None, config: Config) -> Row:
    """The class of an error, its HTTP status, and, if content is kept, its message, which may quote the prompt."""
    return {
        "error": None if error is None else type(error).__name__,
        "status": error.status if isinstance(error, ProviderError) else None,
        "message": clean(str(error)) if error is not None and config.content else None,
    }


def _measures(value: Any) -> Row:
    """The counts of tokens and the cost of a call or an attempt."""
    row: Row = {name: getattr(value.usage, name, None) for name in _COUNTS}
    cost = value.cost
    row["cost"] = None if cost is None else as_units(cost.amount)
    row["currency"] = None if cost is None else cost.currency
    return row


def as_units(amount: Decimal | float) -> int:
    """An amount of money, in the unit of its currency, as a whole number of billionths."""
    return int((Decimal(str(amount)) * UNIT).to_integral_value(ROUND_HALF_UP))


def _asked(model: Any) -> str:
    return ", ".join(map(str, model)) if isinstance(model, list | tuple) else str(model)


def clean(value: Any) -> Any:
    """A JSON-like value that every database can hold: without NUL and without halves of surrogate pairs.

    Raises:
        TypeError: The value holds something else.
    """
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:  # the usual case
            return value
        return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping):
        return {clean(_key(name)): clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    raise TypeError(f"a value of type {type(value).__name__} is not JSON")


def _key(name: object) -> str:
    if isinstance(name, str):
        return name
    raise TypeError(f"a key must be a text, not {name!r}")
