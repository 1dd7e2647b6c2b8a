"""The common part of the readers of the chat shape: emptiness, errors of shape, and the joining of streamed values."""

from __future__ import annotations

from typing import Any

from providerhub._values.errors import ProtocolError

_WHOLE = frozenset({"id", "index", "type", "role", "name", "object", "finish_reason", "format"})
"""Keys whose texts come whole, in each piece again."""


def shape_error(where: str, value: object) -> ProtocolError:
    """Return the error for a value that does not have the shape of the protocol. `where`: the place of the value."""
    return ProtocolError(f"{where} has an unexpected shape ({type(value).__name__}) in the answer", excerpt=repr(value)[:2000])


def says(value: object) -> bool:
    """Return whether a value is not empty. Null, an empty text, list or mapping, and a mapping of such values are empty."""
    if value:
        return not isinstance(value, dict) or any(map(says, value.values()))
    return isinstance(value, int | float)


def joined(old: Any, new: Any) -> Any:
    """Join a streamed value to its earlier part, or to `None`.

    Texts are appended, mappings are joined key by key, and the entries of lists by their `index`, if they have one.
    """
    if old is None or new is None:
        return new if old is None else old
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    if isinstance(old, dict) and isinstance(new, dict):
        fields = dict(old)
        for name, value in new.items():
            fields[name] = (value or fields.get(name)) if name in _WHOLE else joined(fields.get(name), value)
        return fields
    if isinstance(old, list) and isinstance(new, list):
        return _lists(old, new)
    return new


def _lists(old: list[Any], new: list[Any]) -> list[Any]:
    entries = list(old)
    for entry in new:
        index = entry.get("index") if isinstance(entry, dict) else None
        same = (n for n, other in enumerate(entries) if isinstance(other, dict) and other.get("index") == index)
        at = None if index is None else next(same, None)
        if at is None:
            entries.append(entry)
        else:
            entries[at] = joined(entries[at], entry)
    return entries


def blocks_joined(old: list[Any], new: list[Any]) -> list[Any]:
    """Join a list of streamed blocks of reasoning. Their texts come in pieces, and their signature comes last."""
    blocks = list(old)
    for block in new:
        if blocks and _continues(blocks[-1], block):
            last = dict(blocks[-1])
            for name, value in block.items():
                last[name] = joined(last.get(name), value) if name in _TEXTS else last.get(name) if value is None else value
            blocks[-1] = last
        else:
            blocks.append(block)
    return blocks


_TEXTS = ("text", "summary", "thinking")


def _continues(last: Any, block: Any) -> bool:
    if not (isinstance(last, dict) and isinstance(block, dict)) or "data" in block or "data" in last:
        return False
    same = all(last.get(name) == block.get(name) for name in ("type", "index"))
    begins = last.get("signature") and any(block.get(name) for name in _TEXTS)
    return same and not begins
