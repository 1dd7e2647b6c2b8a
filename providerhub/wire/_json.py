"""Parses the JSON objects of an answer, with the fastest parser that is installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from providerhub._values.errors import ProtocolError


def parse(data: bytes) -> dict[str, Any]:
    """Parse one JSON object; raise `ProtocolError` for anything else. Invalid UTF-8 is replaced by U+FFFD.

    If a list has one entry, an error, return this entry, since Google writes errors so.
    """
    try:
        found = _decode(data)
    except _unread:
        found = None
    if type(found) is dict:
        return found
    try:
        found = json.loads(data.decode(errors="replace"), parse_int=_number)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict) and found[0].get("error"):
        found = found[0]
    if not isinstance(found, dict):
        raise ProtocolError("expected a JSON object in the answer", excerpt=data[:2000].decode("utf-8", "replace"))
    return found


def _scanned(data: bytes) -> Any:
    """Parse JSON with the scanner of `json.loads` only; its other steps double the time for a chunk."""
    text = data.decode()
    found, end = _scan(text, 0)
    return found if end == len(text) else None


_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # missing in the stubs
_decode: Callable[[bytes], Any] = _scanned
_unread: tuple[type[Exception], ...] = (ValueError, RecursionError, StopIteration)


@cache
def prepare_stream() -> None:
    """Parse with msgspec from now on, if the extra `fast` is installed. Its import costs more than it saves in one short answer.

    It returns the same values as `json`, and refuses JSON that is not strict, which `json` then reads.
    """
    global _decode, _unread  # noqa: PLW0603 -- one parser for the process
    with suppress(ImportError):
        from msgspec import MsgspecError  # in the extra `fast`; its errors are `ValueError` only since 0.20
        from msgspec.json import Decoder

        _unread = (*_unread, MsgspecError)
        _decode = Decoder().decode


def _number(digits: str) -> int | float:
    """Return a whole number, or a float if it is too long for `int`. Such numbers are valid JSON, but never used."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)
