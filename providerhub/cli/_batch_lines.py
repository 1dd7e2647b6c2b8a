"""The lines of a batch's input: each a request, or a problem."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import chain
from typing import Any, NoReturn

import attrs
import click

from providerhub import InvalidRequestError, Model, RetryPolicy, Timeout
from providerhub._calling import keywords
from providerhub._values.checks import nearest
from providerhub.cli._inputs import filled, places

KEYWORDS = frozenset({"model", "messages", "stream", *keywords.KEYWORDS})  # the keywords of `complete`

_CLASSES: dict[str, type[Any]] = {"timeout": Timeout, "retry": RetryPolicy}
"""The keywords whose JSON objects become a value class."""

_LIKENESS = 0.8  # a user's field that is at least as similar to a keyword is refused as a misspelling; 1 means equal
_BOM = b"\xef\xbb\xbf"
_QUOTED = re.compile(r'"[^"]*"')
_DIGEST_BYTES = 8  # enough to find accidental changes; forgery is not a concern


@attrs.frozen
class Line:
    """A line that is not blank: its number from 1 (for a row of CSV, the number of its last line), and its bytes.

    `row` has the values of a row of CSV by column; `key` is a digest of the run's prompt and options, if any.
    """

    number: int
    raw: bytes
    row: Mapping[str, str] | None = None
    key: bytes = b""

    @property
    def digest(self) -> str:
        """A hash of the line's bytes and of the run's prompt and options, in 16 hexadecimal digits."""
        return blake2b(self.raw, digest_size=_DIGEST_BYTES, key=self.key).hexdigest()


@attrs.frozen
class Form:
    """The models, prompt and keywords for lines without their own. `csv` is a table's usual separator; empty for JSON."""

    model: Any = None
    prompt: str | None = None
    keywords: Mapping[str, Any] = attrs.field(factory=dict)
    csv: str = ""

    @property
    def named(self) -> str | None:
        """The model as the results name it."""
        return ", ".join(self.model) if isinstance(self.model, list) else self.model

    def lines(self, source: Iterable[bytes]) -> Iterator[Line]:
        """Number the lines, and leave out the blank ones."""
        told = json.dumps([self.prompt, self.keywords], default=repr).encode() if self.prompt or self.keywords else b""
        key = blake2b(told, digest_size=_DIGEST_BYTES).digest() if told else b""
        if self.csv:
            yield from _rows(source, self.csv, key, places(self.prompt or ""))
            return
        for number, raw in enumerate(source, 1):
            text = (raw.removeprefix(_BOM) if number == 1 else raw).rstrip(b"\r\n")
            if text.strip():
                yield Line(number, text, None, key)


def _rows(source: Iterable[bytes], usual: str, key: bytes, named: Iterable[str]) -> Iterator[Line]:
    import csv  # most inputs are lines of JSON

    texts = (raw.decode("utf-8-sig") for raw in source)
    reader = csv.reader((), strict=True)
    try:
        header = next(texts, "")
        # If the comma is the decimal sign, a spreadsheet separates by semicolons.
        bare = _QUOTED.sub("", header)
        delimiter = next((one for one in (usual, ";", "\t", ",") if one in bare), usual)
        reader = csv.reader(chain([header], texts), delimiter=delimiter, strict=True)
        columns = next(reader, [])
        if len(set(columns)) < len(columns) or not all(map(str.strip, columns)):
            raise click.ClickException("the first line of the CSV must name each column, and none twice")
        for name in set(named) - set(columns):
            fix = nearest(name, columns, f"its columns are {', '.join(columns)}")
            raise click.UsageError(f"--prompt names {name!r}, and the CSV has no such column; {fix}")
        for row in filter(any, reader):
            if len(row) != len(columns):
                text = f"line {reader.line_num} of the CSV has {len(row)} values, but there are {len(columns)} columns"
                raise click.ClickException(f"{text}; correct it, or quote values that hold {delimiter!r}")
            yield Line(reader.line_num, json.dumps(row).encode(), dict(zip(columns, row, strict=True)), key)
    except (csv.Error, UnicodeDecodeError) as error:
        number = reader.line_num + isinstance(error, UnicodeDecodeError)  # the reader did not get the line that is not text
        raise click.ClickException(f"line {number} is not CSV in UTF-8: {error}") from None


@attrs.define
class Job:
    """The request of a line, or its problem. The result repeats `echo`; `model` is the run's model if the line has none."""

    line: Line
    echo: dict[str, Any] = attrs.field(factory=dict)
    request: Mapping[str, Any] = attrs.field(factory=dict)
    problem: InvalidRequestError | None = None
    model: str | None = None


def job(line: Line, form: Form) -> Job:
    made = Job(line)
    try:
        given = _object(line.raw) if line.row is None else {}
        values = {**given, **(line.row or {})}
        own = {name: value for name, value in values.items() if name != "id" and (line.row or name not in KEYWORDS)}
        if "id" in values:
            made.echo["id"] = values["id"]
        if own:
            made.echo["fields"] = own
        if line.row is None:
            _refuse_misspelt(own.keys() - set(places(form.prompt or "")))
        given = {name: value for name, value in given.items() if name in KEYWORDS}
        if form.prompt is not None and "messages" not in given:
            given["messages"] = _filled(form.prompt, values)
        made.model = form.named if given.get("model") is None else None
        made.request = _request({**form.keywords, **given}, form.model)
    except InvalidRequestError as error:
        made.problem = error
    return made


def identity(line: Line) -> Any:
    """The `id` of a line; `None` without one."""
    try:
        values = json.loads(line.raw) if line.row is None else line.row
        return values.get("id") or None
    except (ValueError, AttributeError, RecursionError):  # `job` names the mistake
        return None


def _filled(prompt: str, values: Mapping[str, Any]) -> str:
    missing = [name for name in places(prompt) if name not in values]
    if missing:
        raise InvalidRequestError(f"--prompt names {missing[0]!r}, which this line does not have; it has {', '.join(values)}")
    return filled(prompt, values, "")


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


def _request(given: dict[str, Any], model: Any) -> dict[str, Any]:
    if given.pop("stream", False) is not False:
        raise InvalidRequestError("'stream' must be false: a batch records whole answers; leave it out")
    if given.get("model") is None:
        given["model"] = model
    if given["model"] is None:
        raise InvalidRequestError("'model' is missing: give one in the line, or for all lines as --model")
    if "messages" not in given:
        raise InvalidRequestError("'messages' is missing: give a text or a list of messages, or --prompt for all lines")
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
