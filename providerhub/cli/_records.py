"""Answers, errors and routes as JSON, the same in every command."""

from __future__ import annotations

from typing import Any

import attrs

from providerhub import Completion, ProviderHubError, Route, StreamInterruptedError
from providerhub.cli._screen import one_line

_DIGITS = 4
"""Of a second's fraction: finer is the machine's noise."""


def completion(answer: Completion) -> dict[str, Any]:
    """An answer.

    Args:
        answer: The answer, whole.
    """
    return {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "tool_calls": [attrs.asdict(call) for call in answer.tool_calls],
        "refusal": answer.refusal,
        "finish_reason": answer.finish_reason,
        "usage": attrs.asdict(answer.usage) if answer.usage else None,
        "provider": answer.provider,
        "model": answer.model,
        "route": route(answer.route),
    }


def error(failure: BaseException) -> dict[str, Any]:
    """An error, with its route where a call was made.

    Args:
        failure: What was raised.
    """
    said: dict[str, Any] = {"type": type(failure).__name__, "message": one_line(failure)}
    if isinstance(failure, StreamInterruptedError):
        said["partial"] = failure.partial
    if isinstance(failure, ProviderHubError):
        said["route"] = route(failure.route)
    return said


def route(taken: Route) -> dict[str, Any]:
    """The attempts of a call, and what was left out.

    Args:
        taken: The route.
    """
    return {
        "attempts": [
            {
                "number": a.number,
                "provider": a.provider,
                "model": a.model,
                "outcome": a.outcome,
                "error": {"type": type(a.error).__name__, "message": one_line(a.error)} if a.error is not None else None,
                "waited": round(a.waited, _DIGITS),
                "started": round(a.started, _DIGITS),
                "duration": round(a.duration, _DIGITS),
                "first_token": None if a.first_token is None else round(a.first_token, _DIGITS),
                "notes": list(a.notes),
            }
            for a in taken.attempts
        ],
        "skipped": [{"provider": s.provider, "model": s.model, "reason": s.reason, "detail": s.detail} for s in taken.skipped],
        "duration": round(taken.duration, _DIGITS),
    }
