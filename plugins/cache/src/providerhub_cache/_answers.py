"""Answers as bytes, and the name under which the answer of a request is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from providerhub import Citation, Completion, Media, Model, Request, ToolCall, Turn, Usage

_FORM = 1  # the form of the bytes; answers of another form are not used
_LEFT_OUT = {"route", "parsed", "cached"}  # fields of one call, not of the answer
_ITEMS: dict[str, Any] = {"tool_calls": ToolCall, "citations": Citation, "media": Media}
_ONES: dict[str, Any] = {"usage": Usage, "turn": Turn}


def key_of(
    asked: str | Model | Sequence[str | Model], request: Request, options: object, aliases: Mapping[str, Any]
) -> str | None:
    """The key of a request's answer.

    Args:
        asked: The model or models, as the caller named them.
        request: The request. Whether it is streamed makes no difference.
        options: The vendor-specific keywords of the call.
        aliases: The aliases of the settings, whose targets are part of the name.

    Returns:
        A digest; `None` for a request that cannot be written as JSON.
    """
    names = [str(name) for name in (asked if isinstance(asked, list | tuple) else [asked])]
    targets: dict[str, list[str]] = {}
    reached = [*names]
    while reached:  # an alias may name another one
        if (name := reached.pop()) in aliases and name not in targets:
            reached += targets.setdefault(name, [str(target) for target in aliases[name]])
    fields = {name: value for name, value in attrs.asdict(request, recurse=False).items() if name not in {"stream", "model"}}
    try:
        text = json.dumps([_FORM, names, targets, fields, options], sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError):
        return None
    import hashlib  # slow to import; only calls with a cache need it

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError


def packed(answer: Completion) -> bytes:
    """An answer as JSON.

    Args:
        answer: The answer.

    Raises:
        TypeError: A detail of the answer is not JSON.
    """
    found = {field.name: getattr(answer, field.name) for field in attrs.fields(Completion) if field.name not in _LEFT_OUT}
    for name in _ITEMS:
        found[name] = [attrs.asdict(item, recurse=False) for item in found[name]]
    for name in _ONES:
        found[name] = None if found[name] is None else attrs.asdict(found[name], recurse=False)
    return json.dumps({"form": _FORM, **found}).encode("utf-8", "surrogatepass")


def unpacked(data: bytes) -> Completion | None:
    """The answer of `packed`, marked as cached; `None` for bytes of another form.

    Args:
        data: The bytes.
    """
    try:
        found = json.loads(data)
        if found.pop("form") != _FORM:
            return None
        for name, cls in _ITEMS.items():
            found[name] = tuple(cls(**item) for item in found[name])
        for name, cls in _ONES.items():
            found[name] = None if found[name] is None else cls(**found[name])
        return Completion(**found, cached=True)
    except (AttributeError, KeyError, TypeError, ValueError):  # other bytes, or an answer of another version
        return None


def is_worth_keeping(answer: Completion | None) -> bool:
    """Whether an answer may be stored: not cut, not refused, not empty.

    Args:
        answer: The answer.
    """
    if answer is None or answer.cached or answer.refusal or answer.finish_reason not in {"stop", "tool_calls"}:
        return False
    return bool(answer.text or answer.tool_calls or answer.media)
