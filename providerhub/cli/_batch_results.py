"""A batch's output: one line for each result, and a table of the results for spreadsheets and data frames.

A later run continues the output, even after a kill in the middle of a write.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import time
from array import array
from collections.abc import Iterator, Mapping
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import click

from providerhub.cli._store import replacing

OK, FAILED = 1, 2
_START = b'{"line": '
_HEAD = re.compile(
    rb'\{"line": (\d+), "input": "([0-9a-f]{16})", "status": "(ok|failed)"(?:, "default_model": ("(?:[^"\\]|\\.)*"))?'
)
_STATUS = {"ok": OK, "failed": FAILED}
_SYNC_EVERY = 1.0
"""Seconds. A kill loses no result that was written; a power failure may lose the last second, which is sent again."""


class Found(NamedTuple):
    """The beginning of a result. `model` is the run's `--model`; `None` if the line named a model, or in an old output."""

    number: int
    digest: str
    status: int
    model: str | None


class Done:
    """The lines that have a result, in five bytes a line. `models` has a `--model` of the results for each status."""

    def __init__(self) -> None:
        self.models: dict[int, str] = {}
        self._status = bytearray()
        self._digests = array("I")
        self.counts = {OK: 0, FAILED: 0}

    @property
    def last(self) -> int:
        """The highest number of a line that has a result, or 0."""
        return len(self._status) - 1 if any(self.counts.values()) else 0

    def add(self, found: Found) -> bool:
        """Record a line's result; false if the line has one already."""
        number, digest, status, model = found
        if self.status(number):
            return False
        missing = number + 1 - len(self._status)
        if missing > 0:
            self._status.extend(bytes(missing))
            self._digests.extend(array("I", bytes(missing * self._digests.itemsize)))
        self._status[number] = status
        self._digests[number] = _short(digest)
        self.counts[status] += 1
        if model is not None:
            self.models.setdefault(status, model)
        return True

    def status(self, number: int) -> int:
        """The line's status: `OK`, `FAILED`, or 0 without a result."""
        return self._status[number] if number < len(self._status) else 0

    def fits(self, number: int, digest: str) -> bool:
        """Whether the line's result was recorded for this digest."""
        return self._digests[number] == _short(digest)

    def forget_failed(self) -> None:
        """Count the failed lines as lines without a result."""
        self._status = self._status.replace(bytes([FAILED]), b"\0")
        self.counts[FAILED] = 0
        self.models.pop(FAILED, None)


def _short(digest: str) -> int:
    return int(digest[:8], 16)


def record(number: int, digest: str, status: str, rest: Mapping[str, Any], *, model: str | None = None) -> bytes:
    """A result as a line of the output. `status` is `"ok"` or `"failed"`; `model` is the `--model`, if the line has none."""
    value = {"line": number, "input": digest, "status": status, **({"default_model": model} if model is not None else {}), **rest}
    try:
        return json.dumps(value, ensure_ascii=False, default=repr).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and UTF-8 cannot
        return json.dumps(value, default=repr).encode() + b"\n"


def read(path: Path) -> Done:
    """Read the results of earlier runs, if any, and repair the end of the file after a killed run."""
    done = Done()
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        size = 0
        for position, raw in enumerate(file, 1):
            found = _found(raw)
            if found is None and not raw.endswith(b"\n") and (raw.startswith(_START) or _START.startswith(raw)):
                file.truncate(size)  # the process was killed in the middle of a result; the line is sent again
                break
            if found is None:
                raise click.ClickException(f"{path}:{position} is not a result of a batch; name another file as --output")
            if not done.add(found):
                text = f"{path}:{position} is a second result for line {found.number} of the input; remove one of the two"
                raise click.ClickException(text)
            size += len(raw)
            if not raw.endswith(b"\n"):  # the process was killed before the end of the line
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
                break
    return done


def _found(raw: bytes) -> Found | None:
    """The beginning of a result; `None` if the line is not a result."""
    head = _HEAD.match(raw) if raw.endswith(b"}\n") else None
    if head:
        model = json.loads(head[4]) if head[4] else None
        return Found(int(head[1]), head[2].decode(), _STATUS[head[3].decode()], model)
    try:  # another program has changed the form, or it is the last line
        value = json.loads(raw)
        found = Found(value["line"], value["input"], _STATUS[value["status"]], value.get("default_model"))
        _short(found.digest)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found.number, int) and found.number > 0 else None


def drop_failed(path: Path) -> None:
    """Remove the failed results from the output, all or none, so that a line has one result after it is sent again."""
    with replacing(path, like=path) as new, path.open("rb") as old:  # Windows cannot replace an open file
        for raw in old:
            found = _found(raw)
            if found is None or found.status != FAILED:
                new.write(raw)


class Appender:
    """Writes each result at once and as a whole; when `durable`, it flushes to the disk every second."""

    def __init__(self, file: BinaryIO | RawIOBase, *, durable: bool = False) -> None:
        self._file = file
        self._durable = durable
        self._synced = time.monotonic()

    def append(self, data: bytes) -> None:
        """Write a result, as a line with its end."""
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
        self._file.flush()
        if self._durable and time.monotonic() - self._synced >= _SYNC_EVERY:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()


@contextlib.contextmanager
def appending(path: Path) -> Iterator[Appender]:
    """Open the output, and create it if it does not exist."""
    with path.open("ab", buffering=0) as file:  # unbuffered: a killed process loses nothing
        yield Appender(file, durable=True)
        os.fsync(file.fileno())


SEPARATORS = {".csv": ",", ".tsv": "\t"}
"""The ending of an output's name → the separator of its columns."""

_TAKEN = ("provider", "model", "finish_reason", "input_tokens", "output_tokens")


def write_table(results: Path, table: Path, *, objects: bool) -> None:
    """Write the table of a file of results, at once or not at all. The ending of its name decides the separator.

    With `objects`, each field of a JSON answer has a column. Otherwise the column `answer` holds the text.
    """
    places: dict[int, int] = {}
    columns: dict[str, None] = {}
    fresh = table.with_name(f"{table.name}.tmp")
    try:
        with results.open("rb") as file, fresh.open("w", encoding="utf-8", errors="replace", newline="") as out:
            while raw := file.readline():
                record = json.loads(raw)
                places[record["line"]] = file.tell() - len(raw)
                columns |= dict.fromkeys(_row(record, objects=objects))
            ordered = sorted(columns, key=lambda name: name.startswith("call."))
            writer = csv.DictWriter(out, ordered, delimiter=SEPARATORS[table.suffix.lower()], lineterminator="\n")
            writer.writeheader()
            for _, place in sorted(places.items()):
                file.seek(place)
                writer.writerow(_row(json.loads(file.readline()), objects=objects))
        fresh.replace(table)
    except OSError as error:
        text = f"cannot write {table}: {error.strerror}; the results are in {results}"
        raise click.ClickException(f"{text}, and the same command makes the table again") from error


def _row(record: Mapping[str, Any], *, objects: bool) -> dict[str, Any]:
    """The fields of the input, of the answer, and of the call (with names that begin with `call.`)."""
    answer, error = record.get("completion"), record.get("error")
    row = ({"id": record["id"]} if "id" in record else {}) | record.get("fields", {})
    for name, value in (_said(answer["text"], objects=objects) if answer else {}).items():
        row[f"answer.{name}" if name in row else name] = value
    row |= {"call.line": record["line"], "call.status": record["status"]}
    if answer:
        row |= {f"call.{name}": {**answer, **(answer["usage"] or {})}.get(name) for name in _TAKEN}
    if error:
        row["call.error"] = f"{error['type']}: {error['message']}"
    return {name: one if isinstance(one, str | None) else json.dumps(one, ensure_ascii=False) for name, one in row.items()}


def _said(text: str, *, objects: bool) -> dict[str, Any]:
    try:
        found = json.loads(text) if objects else None
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"answer": text}
