"""The requests of many calls, and those among them that wait for a further try."""

from __future__ import annotations

import itertools
import math
from bisect import insort
from collections.abc import Callable
from typing import IO, Any

import attrs

IN_MEMORY = 10_000  # the most waiting rows in memory; further rows wait in a file


@attrs.define(eq=False)
class Row:
    """One item of the input: a request, or an object that holds one."""

    index: int
    item: Any
    request: Any
    tries: int = 0  # the further tries that have been decided on
    free: int = 0  # those after a rate limit that were not counted
    seen: int = -1  # the number of answers at the latest rate limit
    error: Exception | None = None  # of the latest try
    resent: bool = False  # whether it was sent again after its process was killed
    call: str | None = None  # the identifier of the first call, where observers see it


class WaitingRows:
    """Rows that wait for a further try, by the time at which they may be sent.

    The rows beyond the limit wait in a file in `folder`, or in the system's. It has no name, so it vanishes with the process.
    """

    def __init__(self, folder: str | None = None, limit: int = IN_MEMORY) -> None:
        self._folder = folder
        self._limit = limit
        self._numbers = itertools.count()
        self._rows: list[tuple[float, int, Row]] = []
        self._file: IO[bytes] | None = None
        self._stored = 0
        self._read = 0

    def __len__(self) -> int:
        return len(self._rows) + self._stored

    @property
    def due(self) -> float | None:
        """The time at which the first row may be sent; `None` when no row waits."""
        if not self._rows and self._stored:
            self._load()
        return self._rows[0][0] if self._rows else None

    def put(self, row: Row, due: float) -> None:
        """Let a row wait until a time. A row that cannot be written to the file stays in memory."""
        if len(self._rows) < self._limit or not self._store(row, due):
            insort(self._rows, (due, next(self._numbers), row))

    def pop(self) -> Row:
        """Take the first row. There must be one."""
        return self._rows.pop(0)[2]

    def hurry(self, chosen: Callable[[Row], bool]) -> None:
        """Let the chosen rows wait no longer. Rows in the file keep their times."""
        self._rows = sorted((-math.inf if chosen(row) else due, number, row) for due, number, row in self._rows)

    def close(self) -> None:
        self._rows.clear()
        self._stored = 0
        if self._file is not None:
            self._file.close()

    def _store(self, row: Row, due: float) -> bool:
        import pickle  # slow to import, and few programs need it

        try:
            data = pickle.dumps((due, row))
            pickle.loads(data)  # noqa: S301 -- our own bytes; some objects can be written and not read
        except Exception:  # any object may be in a request
            return False
        size = 0
        try:
            if self._file is None:
                import tempfile  # slow to import, and few programs need it

                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 -- `close` closes it
            size = self._file.seek(0, 2)
            self._file.write(data)
            self._file.flush()
        except OSError:  # no folder that can be written to, or a full disk
            if self._file is not None:
                self._file.truncate(size)
            return False
        self._stored += 1
        return True

    def _load(self) -> None:
        """Move the first rows of the file into memory."""
        import pickle  # see above

        assert self._file is not None  # noqa: S101 -- rows are stored in it
        self._file.seek(self._read)
        for _ in range(min(self._stored, self._limit)):
            due, row = pickle.load(self._file)  # noqa: S301 -- a file without a name, which no other program can write
            insort(self._rows, (due, next(self._numbers), row))
            self._stored -= 1
        self._read = self._file.tell()
        if not self._stored:
            self._file.truncate(0)
            self._read = 0
