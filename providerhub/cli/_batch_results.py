"""A batch's output: one line for each result, which a later run can go on from whenever the last one was killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import click

OK, FAILED = 1, 2
_START = b'{"line": '
_HEAD = re.compile(rb'\{"line": (\d+), "input": "([0-9a-f]{16})", "status": "(ok|failed)"')
_STATUS = {"ok": OK, "failed": FAILED}
_SYNC_EVERY = 1.0
"""Seconds. A kill loses nothing that was written; what a power failure may lose is sent again."""


class Done:
    """Which lines have a result: five bytes a line, however long the results are."""

    def __init__(self) -> None:
        self._status = bytearray()
        self._digests = array("I")
        self.counts = {OK: 0, FAILED: 0}

    @property
    def last(self) -> int:
        """The highest number of a line that has a result, or 0."""
        return len(self._status) - 1 if any(self.counts.values()) else 0

    def add(self, number: int, digest: str, status: int) -> bool:
        """Note a result.

        Args:
            number: The line's.
            digest: The line's.
            status: `OK` or `FAILED`.

        Returns:
            Whether it is the line's first.
        """
        if self.status(number):
            return False
        missing = number + 1 - len(self._status)
        if missing > 0:
            self._status.extend(bytes(missing))
            self._digests.extend(array("I", bytes(missing * self._digests.itemsize)))
        self._status[number] = status
        self._digests[number] = _short(digest)
        self.counts[status] += 1
        return True

    def status(self, number: int) -> int:
        """`OK`, `FAILED`, or 0 where there is no result.

        Args:
            number: The line's.
        """
        return self._status[number] if number < len(self._status) else 0

    def fits(self, number: int, digest: str) -> bool:
        """Whether the line is still what its result is for.

        Args:
            number: The line's.
            digest: What the line has now.
        """
        return self._digests[number] == _short(digest)

    def forget_failed(self) -> None:
        """Let the failed lines count as not sent."""
        self._status = self._status.replace(bytes([FAILED]), b"\0")
        self.counts[FAILED] = 0


def _short(digest: str) -> int:
    return int(digest[:8], 16)


def record(number: int, digest: str, status: str, rest: Mapping[str, Any]) -> bytes:
    """A result as a line.

    Args:
        number: The line's.
        digest: The line's.
        status: `"ok"` or `"failed"`.
        rest: What else the result holds.
    """
    value = {"line": number, "input": digest, "status": status, **rest}
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and UTF-8 cannot
        return json.dumps(value).encode() + b"\n"


def read(path: Path) -> Done:
    """Take in the results so far, and mend the end of a file whose writer was killed.

    Args:
        path: The output, which need not exist.

    Raises:
        click.ClickException: It holds something else.
    """
    done = Done()
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        whole = 0
        for position, raw in enumerate(file, 1):
            found = _found(raw)
            if found is None and not raw.endswith(b"\n") and (raw.startswith(_START) or _START.startswith(raw)):
                file.truncate(whole)  # killed while writing; the line is sent again
                break
            if found is None:
                msg = f"{path}:{position} is not a result of a batch; name another file as --output"
                raise click.ClickException(msg)
            if not done.add(*found):
                msg = f"{path}:{position} is a second result for line {found[0]} of the input; remove one of the two"
                raise click.ClickException(msg)
            whole += len(raw)
            if not raw.endswith(b"\n"):  # killed between a result and its line's end
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
                break
    return done


def _found(raw: bytes) -> tuple[int, str, int] | None:
    head = _HEAD.match(raw) if raw.endswith(b"}\n") else None
    if head:
        return int(head[1]), head[2].decode(), _STATUS[head[3].decode()]
    try:  # reformatted by another program, or the last line
        value = json.loads(raw)
        number, digest, status = value["line"], value["input"], _STATUS[value["status"]]
        _short(digest)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (number, digest, status) if isinstance(number, int) and number > 0 else None


def drop_failed(path: Path) -> None:
    """Take the failed results out, all or none of them, so that each line has one result when it has been sent again.

    Args:
        path: The output.
    """
    fresh = path.with_name(f"{path.name}.tmp")
    with path.open("rb") as old, fresh.open("wb") as new:
        for raw in old:
            found = _found(raw)
            if found is None or found[2] != FAILED:
                new.write(raw)
        new.flush()
        os.fsync(new.fileno())
    shutil.copymode(path, fresh)
    fresh.replace(path)


class Appender:
    """Writes each result at once, as a whole, behind whatever there is.

    Args:
        write: Writes bytes and returns how many.
        sync: Makes sure that a power failure leaves them.
    """

    def __init__(self, write: Callable[[bytes | memoryview], int], sync: Callable[[], None]) -> None:
        self._write = write
        self._sync = sync
        self._synced = time.monotonic()

    def append(self, data: bytes) -> None:
        """Write a result.

        Args:
            data: The line, its end included.

        Raises:
            OSError: The disk is full, or the reader has gone.
        """
        left = memoryview(data)
        while left:
            left = left[self._write(left) :]
        if time.monotonic() - self._synced >= _SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Make sure that a power failure leaves what was written."""
        self._sync()
        self._synced = time.monotonic()


@contextlib.contextmanager
def appending(path: Path) -> Iterator[Appender]:
    """Open the output.

    Args:
        path: Where it is; it is made where it is not.
    """
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        appender = Appender(lambda data: os.write(number, data), lambda: os.fsync(number))
        yield appender
        appender.sync()
    finally:
        os.close(number)


def to_stream(stream: BinaryIO) -> Appender:
    """Results to a pipe, which cannot be gone on from.

    Args:
        stream: Standard output.
    """

    def write(data: bytes | memoryview) -> int:
        written = stream.write(data)
        stream.flush()
        return written

    return Appender(write, stream.flush)
