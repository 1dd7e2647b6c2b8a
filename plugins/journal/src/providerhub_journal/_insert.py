"""Writing to the tables of calls and attempts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from providerhub_journal._config import Row
from providerhub_journal._database import ATTEMPTS, CALLS, META

# The value does not fit the table. After any other error of the database, a later try may succeed.
# sqlite3 raises `OverflowError` for a number of more than 64 bits.
_REFUSED = (exc.DataError, exc.IntegrityError, exc.StatementError, OverflowError)

_MOST_VALUES = 32_000  # the most values of a statement; SQLite allows 32,766, PostgreSQL twice as many
_MARKS = {"qmark": "?", "format": "%s", "pyformat": "%s"}  # the mark of a value, by the driver's style


def insert(engine: sa.Engine, rows: Sequence[Row], lost: int = 0) -> list[Exception]:
    """Write calls with their attempts in one transaction.

    Args:
        engine: The database.
        rows: The rows of calls, each with the rows of its attempts under `"tries"`.
        lost: The number of calls that were not written before, which is added to the count in the database.

    Returns:
        The errors of the rows that the database refuses; the others are written.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The database cannot be written. Nothing was.
    """
    try:
        _insert(engine, rows, lost)
    except (exc.StatementError, OverflowError) as error:
        if isinstance(error, exc.DBAPIError) and not isinstance(error, _REFUSED[:2]):
            raise
    else:
        return []
    refused: list[Exception] = []
    for row in rows:
        try:
            _insert(engine, [row], 0)
        except _REFUSED as error:
            if isinstance(error, exc.DBAPIError) and not isinstance(error, _REFUSED[:2]):
                raise
            refused.append(error)
    return refused


def _insert(engine: sa.Engine, rows: Sequence[Row], lost: int) -> None:
    tries = [one for row in rows for one in row["tries"]]
    with engine.begin() as connection:
        _many(connection, CALLS, rows)
        if tries:
            _many(connection, ATTEMPTS, tries)
        if lost:
            connection.execute(sa.update(META).where(META.c.name == "lost").values(value=META.c.value + lost))


def _many(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert rows, many with each statement.

    The driver lets other threads run at each statement, and a busy thread then keeps the interpreter for milliseconds. With
    few statements, the writer is as fast as the calls.
    """
    dialect = connection.dialect
    names = [name for name in table.c.keys() if name != "n"]  # noqa: SIM118 -- no mapping
    texts = {name for name in names if isinstance(table.c[name].type, sa.JSON)}
    mark = _MARKS.get(dialect.paramstyle)
    values = [tuple(_value(row.get(name), is_json=name in texts) for name in names) for row in rows]
    if mark is None:  # a driver with named marks only
        statement = str(sa.insert(table).compile(dialect=dialect, column_keys=names))
        connection.exec_driver_sql(statement, [dict(zip(names, row, strict=True)) for row in values])
        return
    quote = dialect.identifier_preparer.quote
    start = f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, names))}) VALUES "  # noqa: S608 -- names of this module
    one = f"({', '.join([mark] * len(names))})"
    size = _MOST_VALUES // len(names)
    for first in range(0, len(values), size):
        part = values[first : first + size]
        connection.exec_driver_sql(start + ", ".join([one] * len(part)), tuple(itertools.chain(*part)))


def _value(value: Any, *, is_json: bool) -> Any:
    return json.dumps(value) if is_json and value is not None else value


def prune(engine: sa.Engine, before: float) -> int:
    """Remove calls with their attempts.

    Args:
        engine: The database.
        before: Unix time, in seconds. Calls that started earlier are removed.

    Returns:
        The number of calls that were removed.
    """
    with engine.begin() as connection:
        old = sa.select(CALLS.c.id).where(CALLS.c.started < before)
        connection.execute(sa.delete(ATTEMPTS).where(ATTEMPTS.c.call.in_(old)))
        return connection.execute(sa.delete(CALLS).where(CALLS.c.started < before)).rowcount
