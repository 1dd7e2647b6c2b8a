"""Rows for an existing SQLite file, written without SQLAlchemy, whose import takes longer than a short answer."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Sequence

from providerhub_journal._config import Row

VERSION = 1  # the version of the tables; a database with a later version is not written
BUSY = 5.0  # seconds for which SQLite waits for another process that writes
_FILE = "sqlite:///"


def insert(url: str, rows: Sequence[Row]) -> bool:
    """Write calls with their attempts in one transaction.

    Args:
        url: The SQLAlchemy address of the database.
        rows: The rows, as for `_insert.insert`.

    Returns:
        Whether the rows are written. Nothing is written if the address does not name a usual file with tables of this version,
        or after an error, which `_insert.insert` reports.
    """
    path = url.removeprefix(_FILE)
    if path == url or not path.startswith("/") or "?" in path or "#" in path or "%" in path:
        return False
    tries = [one for row in rows for one in row["tries"]]
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=rw", timeout=BUSY, uri=True)) as connection, connection:
            connection.execute("PRAGMA synchronous=NORMAL")
            found = connection.execute("SELECT value FROM providerhub_journal WHERE name = 'version'").fetchall()
            if found != [(VERSION,)]:
                return False
            for table, part in {"providerhub_calls": rows, "providerhub_attempts": tries}.items():
                kinds = {name: kind for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})") if name != "n"}
                values = [[_value(row.get(name), kind) for name, kind in kinds.items()] for row in part]
                marks = ", ".join("?" * len(kinds))
                connection.executemany(f"INSERT INTO {table} ({', '.join(kinds)}) VALUES ({marks})", values)  # noqa: S608
    except (sqlite3.Error, OverflowError):
        return False
    return True


def _value(value: object, kind: str) -> object:
    return json.dumps(value) if kind == "JSON" and value is not None else value
