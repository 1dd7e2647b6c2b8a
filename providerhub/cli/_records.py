"""Answers, errors and routes as JSON, the same in every command."""

from __future__ import annotations

from typing import Any

import attrs

from providerhub import Attempt, Completion, ProviderHubError, Route, StreamInterruptedError
from providerhub.cli._screen import one_line

_DIGITS = 4
"""Decimal places of seconds: smaller differences are noise."""


def _plain(owner: object, _field: object, value: Any) -> Any:
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "message": one_line(value)}
    is_time = isinstance(value, float) and isinstance(owner, Route | Attempt)
    return round(value, _DIGITS) if is_time else value


def record(value: Completion | Route) -> dict[str, Any]:
    """An answer, or the attempts of a call and the candidates that were left out."""
    return attrs.asdict(value, value_serializer=_plain)


def error(failure: BaseException) -> dict[str, Any]:
    """An error, with the partial answer and the route where it has them."""
    found: dict[str, Any] = _plain(None, None, failure)
    if isinstance(failure, StreamInterruptedError):
        found["partial"] = failure.partial
    if isinstance(failure, ProviderHubError):
        found["route"] = record(failure.route)
    return found


def picked(value: object, *names: str) -> dict[str, Any]:
    """Some attributes of an object, by name; tuples become lists."""
    found = {name: getattr(value, name) for name in names}
    return {name: list(item) if isinstance(item, tuple) else item for name, item in found.items()}
