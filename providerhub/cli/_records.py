"""Answers, errors and routes as JSON, the same in every command."""

from __future__ import annotations

from typing import Any

import attrs

from providerhub import Attempt, Completion, ProviderHubError, Route, StreamInterruptedError
from providerhub.cli._screen import one_line

_DIGITS = 4  # decimal places of seconds: smaller differences are noise


def _plain(owner: object, _field: object, value: Any) -> Any:
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "message": one_line(value)}
    is_time = isinstance(value, float) and isinstance(owner, Route | Attempt)
    return round(value, _DIGITS) if is_time else value


def record(value: Completion | Route, *, media: bool = False) -> dict[str, Any]:
    """An answer, or the attempts of a call and the candidates that were left out.

    Args:
        value: The answer or the route. An answer is shown with the message that goes back, which holds the vendor's own form.
        media: Whether to write the bytes of images and sounds, as base64, in place of their number.
    """
    found = attrs.asdict(value, value_serializer=_plain)
    if isinstance(value, Completion):
        del found["turn"], found["parsed"]  # in the message, and an object of any class whose text is the answer's
        found["message"] = value.message
        for medium in () if media else found["media"]:
            medium["bytes"] = len(medium.pop("base64")) * 3 // 4
    return found


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
