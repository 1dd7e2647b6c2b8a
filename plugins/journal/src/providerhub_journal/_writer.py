"""The writer of finished calls. A call only puts its record into a queue."""

from __future__ import annotations

import time
from typing import Any

from providerhub import CallRecord
from providerhub_journal._config import Config, Redact, Row, redaction
from providerhub_journal._joining import COMMAND_LINE
from providerhub_journal._rows import call_row, clean
from providerhub_journal._worker import TOGETHER, Worker, guard_forks, reason

MOST = 10_000  # the most waiting calls; further calls are lost, and counted
PRUNE = 3600.0  # seconds between two removals of old rows


class Writer(Worker[CallRecord]):
    """Writes the calls of one process to one database. Thread-safe.

    A database that cannot be written is tried again. Meanwhile up to `MOST` calls wait in memory. A problem is logged once.

    Args:
        config: The settings of the journal.
    """

    gather = 0.1

    def __init__(self, config: Config) -> None:
        self._config = config
        self._redact: Redact | None = redaction(config.redact) if config.redact else None
        self._is_off = False
        self._lost = 0
        super().__init__()

    def _begin(self) -> None:
        super()._begin()
        self._rows: list[Row] = []
        self._engine: Any = None
        self._watched: Any = None
        self._pruned = 0.0

    @property
    def lost(self) -> int:
        """The number of calls of this process that were not written, and that the database does not count yet."""
        return self._lost

    def put(self, call: CallRecord) -> None:
        """Take a finished call. Never waits."""
        if self._is_off or self._queue.qsize() >= MOST:
            self._lose(1)
        else:
            self._add(call)

    def close(self) -> None:
        """Write the calls so far, and close the connection. A later call opens a new connection."""
        super().close()
        if self._engine is not None:
            self._engine.dispose()

    def _lose(self, count: int) -> None:
        with self._guard:
            self._lost += count

    def _work(self, items: list[CallRecord]) -> bool:
        self._rows += filter(None, map(self._row, items))
        if len(self._rows) > MOST:
            self._lose(len(self._rows) - MOST)
            del self._rows[:-MOST]
        while self._rows and not self._is_off and (self._write_directly() or self._write()):
            pass
        return not self._rows

    def _row(self, call: CallRecord) -> Row | None:
        """The rows of a call; `None` for a call that is left out."""
        try:
            row = call_row(call, self._config)
            try:
                row["metadata"] = clean(call.metadata) or None
            except (TypeError, ValueError) as error:
                self._once("metadata", f"the metadata of a call cannot be written and are left out: {error}")
            changed = row if self._redact is None else self._redact(row)
        except Exception as error:  # for example, an error of the redaction: an unredacted call is not written
            self._once("row", f"a call cannot be written and is left out: {type(error).__name__}: {error}")
            self._lose(1)
            return None
        return changed and {"tries": [], **changed}

    def _write_directly(self) -> bool:
        """Write the few rows of the command line without SQLAlchemy. Returns whether this was possible."""
        if self._config.program != COMMAND_LINE or self._engine is not None or self._config.keep is not None or self._lost:
            return False
        from providerhub_journal._direct import insert  # slow to import: not before the first call has ended

        part = self._rows[:TOGETHER]
        is_written = insert(self._config.url, part)
        if is_written:
            del self._rows[: len(part)]
        return is_written

    def _write(self) -> bool:
        """Write the waiting rows; return whether this worked. If the database cannot be written now, the rows stay."""
        guard_forks()
        try:
            from sqlalchemy import exc  # slow to import: not before the first call has ended

            from providerhub_journal._database import NewerError, Watched, connect
            from providerhub_journal._insert import insert, prune
        except ImportError as error:
            self._give_up(error)
            return False
        try:
            if self._engine is not None and self._watched.is_gone:
                self._once("gone", f"{self._place} was removed while it was open; a new one is made")
                self._engine.dispose()
                self._engine = None
            if self._engine is None:
                self._engine = connect(self._config.url)
                self._watched = Watched(self._config.url)
            lost = self._lost
            part = self._rows[:TOGETHER]
            refused = insert(self._engine, part, lost)
            if self._config.keep is not None and time.monotonic() - self._pruned > PRUNE:
                self._pruned = time.monotonic()
                prune(self._engine, time.time() - self._config.keep)
        except (NewerError, ImportError, exc.ArgumentError) as error:
            self._give_up(error)
        except Exception as error:  # locked, full, read-only or gone: a later try may succeed
            self._once("database", f"{self._place} cannot be written, so calls are not recorded now: {reason(error)}")
        else:
            del self._rows[: len(part)]
            self._lose(-lost)  # the database now has the count
            self._logged.discard("database")
            for each in refused:
                self._once("row", f"a call cannot be written and is left out: {reason(each)}")
                self._lose(1)
            return True
        return False

    def _give_up(self, error: Exception) -> None:
        self._is_off = True
        self._lose(len(self._rows))
        self._rows.clear()
        self._once("database", f"{self._place} cannot be used, so calls are not recorded: {reason(error)}")

    @property
    def _place(self) -> str:
        """The place of the journal for messages, without a password."""
        head, _, rest = self._config.url.partition("://")
        return f"the journal at {head}://{rest.rpartition('@')[2]}"
