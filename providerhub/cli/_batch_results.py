"""A batch's output: one line for each result. A later run continues it, even after a kill in the middle of a write."""

from __future__ import annotations

import contextlib
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
    """The beginning of a result. `model` is the run's `--model`; `None` where the line named a model, or in an old output."""

    number: int
    digest: str
    status: int
    model: str | None


class Done:
    """The lines that have a result, in five bytes a line.

    `models` has for each status a `--model` with which such a result was made. An output has one, unless it was edited.
    """

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
    """A result as a line of the output. `status` is `"ok"` or `"failed"`; `model` is the `--model`, where the line names none."""
    value = {"line": number, "input": digest, "status": status, **({"default_model": model} if model is not None else {}), **rest}
    try:
        return json.dumps(value, ensure_ascii=False, default=repr).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and UTF-8 cannot
        return json.dumps(value, default=repr).encode() + b"\n"


def read(path: Path) -> Done:
    """Read the results of earlier runs, if any, and repair the end of a file that a killed run left."""
    done = Done()
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        size = 0
        for position, raw in enumerate(file, 1):
            found = _found(raw)
            if found is None and not raw.endswith(b"\n") and (raw.startswith(_START) or _START.startswith(raw)):
                file.truncate(size)  # killed in the middle of a result; the line is sent again
                break
            if found is None:
                raise click.ClickException(f"{path}:{position} is not a result of a batch; name another file as --output")
            if not done.add(found):
                text = f"{path}:{position} is a second result for line {found.number} of the input; remove one of the two"
                raise click.ClickException(text)
            size += len(raw)
            if not raw.endswith(b"\n"):  # killed between a result and the end of its line
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
    try:  # reformatted by another program, or the last line
        value = json.loads(raw)
        found = Found(value["line"], value["input"], _STATUS[value["status"]], value.get("default_model"))
        _short(found.digest)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found.number, int) and found.number > 0 else None


def drop_failed(path: Path) -> None:
    """Remove the failed results from the output, all or none, so that a line has one result after it is sent again."""
    with path.open("rb") as old, replacing(path, like=path) as new:
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
