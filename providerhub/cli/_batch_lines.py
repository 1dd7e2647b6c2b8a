"""The lines of a batch's input: each a request, or the reason why it is not one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NoReturn

import attrs

from providerhub import InvalidRequestError, Model, RetryPolicy, Timeout
from providerhub._calling import keywords
from providerhub._values.checks import nearest

KEYWORDS = frozenset({"model", "messages", "stream", *keywords.KEYWORDS})  # the keywords of `complete`

_CLASSES: dict[str, type[Any]] = {"timeout": Timeout, "retry": RetryPolicy}
"""The keywords whose JSON objects are made into a value class."""

_LIKENESS = 0.8  # a field of the user's own that is as similar to a keyword as this is refused as a misspelling; 1 means equal
_BOM = b"\xef\xbb\xbf"
_DIGEST_BYTES = 8  # enough to find accidental changes; forgery is not a concern


@attrs.frozen
class Line:
    """A line that is not blank: its number in the input, from 1, in which blank lines count; and its bytes without the end."""

    number: int
    raw: bytes

    @property
    def digest(self) -> str:
        """A hash of the line's bytes, in 16 hexadecimal digits."""
        return blake2b(self.raw, digest_size=_DIGEST_BYTES).hexdigest()


@attrs.define
class Job:
    """The request of a line, or its problem.

    Args:
        echo: The `id` and the user's own fields, which the result repeats.
        model: The run's `--model`, where the line names no model.
    """

    line: Line
    echo: dict[str, Any] = attrs.field(factory=dict)
    request: Mapping[str, Any] = attrs.field(factory=dict)
    problem: InvalidRequestError | None = None
    model: str | None = None


def lines(source: Iterable[bytes]) -> Iterator[Line]:
    """Number the lines, and leave out the blank ones."""
    for number, raw in enumerate(source, 1):
        text = (raw.removeprefix(_BOM) if number == 1 else raw).rstrip(b"\r\n")
        if text.strip():
            yield Line(number, text)


def job(line: Line, model: str | None) -> Job:
    """Read a line; `model` is the model to ask if the line names none."""
    made = Job(line)
    try:
        given = _object(line.raw)
        if "id" in given:
            made.echo["id"] = given.pop("id")
        own = {name: given.pop(name) for name in given.keys() - KEYWORDS}
        if own:
            made.echo["fields"] = own
            _refuse_misspelt(own)
        made.model = model if given.get("model") is None else None
        made.request = _request(given, model)
    except InvalidRequestError as error:
        made.problem = error
    return made


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"not UTF-8 text: {error.reason} at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise InvalidRequestError(f"not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"not readable JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequestError('not an object such as {"model": "...", "messages": "..."}')
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse_misspelt(own: Iterable[str]) -> None:
    for name in own:
        if hint := nearest(name, KEYWORDS, cutoff=_LIKENESS):
            raise InvalidRequestError(f"unknown key {name!r}: {hint} Rename it if it is a field of your own")


def _request(given: dict[str, Any], model: str | None) -> dict[str, Any]:
    if given.pop("stream", False) is not False:
        raise InvalidRequestError("'stream' must be false: a batch records whole answers; leave it out")
    if given.get("model") is None:
        given["model"] = model
    if given["model"] is None:
        raise InvalidRequestError("'model' is missing: give one in the line, or for all lines as --model")
    if "messages" not in given:
        raise InvalidRequestError("'messages' is missing: give a text or a list of messages")
    given["model"] = _models(given["model"])
    for name, kind in _CLASSES.items():
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
        raise InvalidRequestError(f"{name!r} is wrong: {error}") from None
