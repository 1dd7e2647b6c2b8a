"""The lines of a batch's input: each a request, or the reason why it is none."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NoReturn

import attrs

from providerhub import InvalidRequestError, Model, RetryPolicy, Timeout
from providerhub._calling import keywords

KEYWORDS = frozenset({"model", "messages", "stream", *keywords.KEYWORDS})
"""Of `complete`."""

_LIKENESS = 0.8
"""From here up a field of the user's own is taken for a keyword that is misspelt."""
_BOM = b"\xef\xbb\xbf"
_DIGEST = 8
"""Bytes: changes by chance are to be found, not forgeries."""


@attrs.frozen
class Line:
    """A line that is not blank.

    Args:
        number: Counts all lines of the input from 1, blank ones too.
        raw: Its bytes, without the line's end.
    """

    number: int
    raw: bytes

    @property
    def digest(self) -> str:
        """Tells this text from another."""
        return blake2b(self.raw, digest_size=_DIGEST).hexdigest()


@attrs.frozen
class Job:
    """What a line asks for.

    Args:
        number: The line's.
        digest: The line's.
        echo: What the result repeats: the `id`, and fields of the user's own.
        request: Keywords of `complete`; `None` where there is a problem.
        problem: Why the line is no request.
    """

    number: int
    digest: str
    echo: Mapping[str, Any]
    request: Mapping[str, Any] | None = None
    problem: InvalidRequestError | None = None


def lines(source: Iterable[bytes]) -> Iterator[Line]:
    """Number the lines, and leave out the blank ones.

    Args:
        source: The input, line by line.
    """
    for number, raw in enumerate(source, 1):
        text = (raw.removeprefix(_BOM) if number == 1 else raw).rstrip(b"\r\n")
        if text.strip():
            yield Line(number, text)


def job(line: Line, model: str | None) -> Job:
    """Read a line.

    Args:
        line: The line.
        model: The model to ask where the line names none.
    """
    echo: dict[str, Any] = {}
    try:
        given = _object(line.raw)
        if "id" in given:
            echo["id"] = given.pop("id")
        own = {name: given.pop(name) for name in given.keys() - KEYWORDS}
        if own:
            echo["fields"] = own
            _refuse_misspelt(own)
        return Job(line.number, line.digest, echo, _request(given, model))
    except InvalidRequestError as error:
        return Job(line.number, line.digest, echo, problem=error)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        msg = f"not UTF-8 text: {error.reason} at byte {error.start + 1}"
        raise InvalidRequestError(msg) from None
    except json.JSONDecodeError as error:
        msg = f"not JSON: {error.msg} at column {error.colno}"
        raise InvalidRequestError(msg) from None
    except (ValueError, RecursionError) as error:
        msg = f"not JSON that can be read: {error}"
        raise InvalidRequestError(msg) from None
    if not isinstance(value, dict):
        msg = 'not an object such as {"model": "...", "messages": "..."}'
        raise InvalidRequestError(msg)
    return value


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _refuse_misspelt(own: Iterable[str]) -> None:
    for name in own:
        near = difflib.get_close_matches(name, KEYWORDS, 1, _LIKENESS)
        if near:
            msg = f"unknown key {name!r}: did you mean {near[0]!r}? A field of your own needs another name"
            raise InvalidRequestError(msg)


def _request(given: dict[str, Any], model: str | None) -> dict[str, Any]:
    if given.pop("stream", False) is not False:
        msg = "a batch gives whole answers: leave 'stream' out"
        raise InvalidRequestError(msg)
    if given.get("model") is None:
        if model is None:
            msg = "there is no 'model', here or as --model"
            raise InvalidRequestError(msg)
        given["model"] = model
    if "messages" not in given:
        msg = "there is no 'messages'"
        raise InvalidRequestError(msg)
    given["model"] = _models(given["model"])
    for name, kind in (("timeout", Timeout), ("retry", RetryPolicy)):
        if isinstance(given.get(name), dict):
            given[name] = _made(kind, name, given[name])
    return given


def _models(value: Any) -> Any:
    if isinstance(value, list):
        return [_models(each) for each in value]
    return _made(Model, "model", value) if isinstance(value, dict) else value


def _made(kind: type[Any], name: str, values: dict[str, Any]) -> Any:
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        msg = f"{name!r} is wrong: {error}"
        raise InvalidRequestError(msg) from None
