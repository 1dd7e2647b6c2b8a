"""The thread that writes finished calls to the database. A call only puts its record into a queue."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
from typing import Any

from providerhub import CallRecord
from providerhub_journal._config import Config, Redact, Row, redaction
from providerhub_journal._rows import call_row, clean

MOST = 10_000  # calls that wait to be written; further ones are lost, and counted
TOGETHER = 1000  # calls of one transaction
GATHER = 0.2  # seconds for which calls are gathered, to be written in one transaction
RETRY = 1.0  # seconds between two tries of a database that cannot be written
AT_EXIT = 5.0  # seconds for which the end of the program waits for the last lines
PRUNE = 3600.0  # seconds between two removals of old rows

log = logging.getLogger("providerhub.journal")
_writers: dict[Config, Writer] = {}
_lock = threading.Lock()


def writer_for(config: Config) -> Writer:
    """This process's writer for some settings, which all hubs share.

    Args:
        config: The settings of the journal.
    """
    with _lock:
        if config not in _writers:
            _writers[config] = Writer(config)
        return _writers[config]


class Writer:
    """Writes the calls of one process to one database. Thread-safe.

    A database that cannot be written is tried again. Meanwhile up to `MOST` calls wait in memory. A problem is logged once.

    Args:
        config: The settings of the journal.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._redact: Redact | None = redaction(config.redact) if config.redact else None
        self._logged: set[str] = set()
        self._guard = threading.Lock()
        self._is_off = False
        self._lost = 0
        self._begin()

    def _begin(self) -> None:
        """Start with nothing, also in a forked child, where the parent's thread does not run."""
        self._queue: queue.SimpleQueue[CallRecord | threading.Event] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._rows: list[Row] = []
        self._engine: Any = None
        self._pruned = 0.0

    @property
    def lost(self) -> int:
        """The number of calls of this process that were not written, and that the database does not count yet."""
        return self._lost

    def put(self, call: CallRecord) -> None:
        """Take a finished call. Never waits.

        Args:
            call: The record.
        """
        if self._is_off or self._queue.qsize() >= MOST:
            self._lose(1)
            return
        self._queue.put(call)
        if self._thread is None:
            self._start()

    def flush(self, seconds: float = AT_EXIT) -> bool:
        """Wait until the calls so far are written, or one try to write them has failed.

        Args:
            seconds: The longest wait.

        Returns:
            Whether that was in time.
        """
        if self._thread is None:
            return True
        done = threading.Event()
        self._hurry.set()
        self._queue.put(done)
        return done.wait(seconds)

    def close(self) -> None:
        """Write the calls so far, and close the connection. A later call opens another one."""
        self.flush()
        if self._engine is not None:
            self._engine.dispose()

    def _start(self) -> None:
        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="providerhub-journal", daemon=True)
                self._thread.start()

    def _lose(self, count: int) -> None:
        with self._guard:
            self._lost += count

    def _run(self) -> None:
        while True:
            try:
                items = [self._queue.get(timeout=RETRY if self._rows else None)]
            except queue.Empty:
                items = []
            self._hurry.wait(GATHER)
            items += [self._queue.get() for _ in range(self._queue.qsize())]
            self._hurry.clear()
            self._rows += filter(None, (self._row(item) for item in items if not isinstance(item, threading.Event)))
            if len(self._rows) > MOST:
                self._lose(len(self._rows) - MOST)
                del self._rows[:-MOST]
            while self._rows and not self._is_off and self._write():
                pass
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()

    def _row(self, call: CallRecord) -> Row | None:
        """The rows of a call; `None` for a call that is left out."""
        try:
            row = call_row(call, self._config)
            try:
                row["metadata"] = clean(call.metadata) or None
            except (TypeError, ValueError) as error:
                self._once("metadata", f"the metadata of a call cannot be written and are left out: {error}")
            changed = row if self._redact is None else self._redact(row)
        except Exception as error:  # such as one of the redaction: what it did not see is not written
            self._once("row", f"a call cannot be written and is left out: {type(error).__name__}: {error}")
            self._lose(1)
            return None
        return changed and {"tries": [], **changed}

    def _write(self) -> bool:
        """Write rows that wait; return whether that worked. Those of a database that cannot be written now go on waiting."""
        try:
            from sqlalchemy import exc  # slow to import: not before the first call has ended

            from providerhub_journal._database import NewerError, connect
            from providerhub_journal._insert import insert, prune
        except ImportError as error:
            self._give_up(error)
            return False
        try:
            if self._engine is None:
                self._engine = connect(self._config.url)
            lost = self._lost
            part = self._rows[:TOGETHER]
            refused = insert(self._engine, part, lost)
            if self._config.keep is not None and time.monotonic() - self._pruned > PRUNE:
                self._pruned = time.monotonic()
                prune(self._engine, time.time() - self._config.keep)
        except (NewerError, ImportError, exc.ArgumentError) as error:
            self._give_up(error)
        except Exception as error:  # locked, full, read-only, gone: it may be mended
            self._once("database", f"{self._place} cannot be written, so calls are not recorded now: {reason(error)}")
        else:
            del self._rows[: len(part)]
            self._lose(-lost)  # the database counts them now
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
        """The journal in words, without a password."""
        head, _, rest = self._config.url.partition("://")
        return f"the journal at {head}://{rest.rpartition('@')[2]}"

    def _once(self, kind: str, text: str) -> None:
        if kind not in self._logged:
            self._logged.add(kind)
            log.warning("%s", text)


def reason(error: BaseException) -> str:
    """The words of an error on one line, without the statement and its values.

    Args:
        error: The error, of SQLAlchemy or another.
    """
    found = getattr(error, "orig", None) or error
    return f"{type(found).__name__}: {' '.join(str(found).split())}"


def flush(seconds: float = AT_EXIT) -> bool:
    """Wait until all calls of this process so far are written, or one try to write them has failed.

    Args:
        seconds: The longest wait for each database.

    Returns:
        Whether that was in time.
    """
    done = [writer.flush(seconds) for writer in tuple(_writers.values())]
    return all(done)


def _finish() -> None:
    """The end of the program."""
    for writer in tuple(_writers.values()):
        writer.close()


def _forked() -> None:
    global _lock  # noqa: PLW0603 -- another thread of the parent may have held it
    _lock = threading.Lock()
    for writer in _writers.values():
        writer._guard = threading.Lock()  # noqa: SLF001 -- the same
        writer._begin()  # noqa: SLF001


atexit.register(_finish)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
