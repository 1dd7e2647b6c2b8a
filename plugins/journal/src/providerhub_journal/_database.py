"""The tables of the journal, and a connection to its database."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.schema import CreateTable

from providerhub_journal._direct import BUSY, VERSION

UNIT = 10**9  # costs are whole numbers of 1/UNIT of a currency, so that sums are exact
CONNECT = 5  # seconds for the connection to a server; without a limit, a call would wait minutes for a missing host
_LIMITED = {"psycopg", "psycopg2", "mysqldb", "pymysql"}  # the drivers that take `connect_timeout`
_TRIES = 5  # tries of the first use: several processes may create the tables at once

log = logging.getLogger("providerhub.journal")
TABLES = sa.MetaData()
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # only in a column of this type, SQLite numbers rows itself
_JSON = sa.JSON(none_as_null=True)

META = sa.Table(
    "providerhub_journal", TABLES, sa.Column("name", sa.String(40), primary_key=True), sa.Column("value", sa.BigInteger)
)


def _measured() -> list[sa.Column[Any]]:
    """The columns that calls and attempts have in common."""
    texts = ("provider", "model", "served_model", "request_id", "outcome", "error", "message", "currency")
    counts = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "cost")
    times = ("duration", "first_token")
    kinds: dict[Any, tuple[str, ...]] = {sa.Text: texts, sa.BigInteger: (*counts, "status"), sa.Double: times}
    return [sa.Column(name, kind) for kind, names in kinds.items() for name in names]


CALLS = sa.Table(
    "providerhub_calls",
    TABLES,
    sa.Column("n", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(80), unique=True),
    sa.Column("parent", sa.String(80)),
    sa.Column("started", sa.Double, index=True),
    sa.Column("day", sa.String(10)),
    sa.Column("program", sa.Text),
    sa.Column("asked", sa.Text),
    sa.Column("stream", sa.Boolean),
    sa.Column("cached", sa.Boolean),
    sa.Column("attempts", sa.Integer),
    sa.Column("metadata", _JSON),
    sa.Column("prompt", _JSON),
    sa.Column("answer", sa.Text),
    *_measured(),
)
ATTEMPTS = sa.Table(
    "providerhub_attempts",
    TABLES,
    sa.Column("n", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("call", sa.String(80), index=True),
    sa.Column("number", sa.Integer),
    sa.Column("waited", sa.Double),
    sa.Column("started", sa.Double),
    sa.Column("notes", _JSON),
    *_measured(),
)
BUDGETS = sa.Table(
    "providerhub_budgets",
    TABLES,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("period", sa.String(20), primary_key=True),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.Column("reserved", sa.BigInteger, nullable=False),
)
LEASES = sa.Table(
    "providerhub_leases",
    TABLES,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("period", sa.String(20)),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("taken", sa.Double, nullable=False),
    sa.Column("ends", sa.Double, nullable=False),
)


class NewerError(Exception):
    """The database was made by a later version of this distribution."""


def file_of(url: str) -> Path | None:
    """The SQLite file that an address names; `None` for another database, and for one in memory."""
    found = sa.make_url(url)
    name = (found.database or "") if found.get_backend_name() == "sqlite" else ""
    if found.query.get("uri"):  # such as `file:calls.db?mode=ro&uri=true`
        name = unquote(urlsplit(name).path)
    return Path(name) if name not in {"", ":memory:"} else None


def is_missing(url: str) -> bool:
    """Whether the address names an SQLite file that does not exist."""
    file = file_of(url)
    return file is not None and not file.exists()


class Watched:
    """Tells whether an SQLite file is still the opened file: SQLite writes into a removed file without an error.

    Args:
        url: The SQLAlchemy address of the open database.
    """

    def __init__(self, url: str) -> None:
        self._file = file_of(url)
        self._opened = self._identity()

    @property
    def is_gone(self) -> bool:
        """Whether the file was removed or replaced."""
        return self._file is not None and self._identity() != self._opened

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._file.stat() if self._file is not None else None
        except FileNotFoundError:
            return None
        return None if found is None else (found.st_dev, found.st_ino)


def connect(url: str, *, busy: float = BUSY) -> sa.Engine:
    """Open the database. Create missing tables and, for SQLite, the folder and the file, which only the user may read.

    Raises:
        NewerError: The database has tables of a later version.
        sqlalchemy.exc.SQLAlchemyError: The database cannot be opened.
    """
    engine = _engine(url, busy)
    for left in range(_TRIES, 0, -1):
        try:
            _prepare(engine)
        except (exc.OperationalError, exc.IntegrityError, exc.ProgrammingError) as error:  # another process was faster
            engine.dispose()
            if left == 1 or error.statement is None:  # `None`: there is no connection
                raise
        except BaseException:
            engine.dispose()
            raise
        else:
            return engine
    raise AssertionError  # unreachable: the last try returns or raises


def _engine(url: str, busy: float) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        limit = (
            {"connect_timeout": CONNECT} if parsed.get_driver_name() in _LIMITED and "connect_timeout" not in parsed.query else {}
        )
        return sa.create_engine(parsed, pool_pre_ping=True, pool_recycle=300, connect_args=limit)
    file = file_of(url)
    if file is not None and parsed.query.get("mode") != "ro":
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError, PermissionError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    engine = sa.create_engine(parsed, connect_args={"timeout": busy})

    @sa.event.listens_for(engine, "connect")
    def _tune(connection: object, _record: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            with contextlib.suppress(Exception):  # a read-only file, or another process just switches the mode
                connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]

    return engine


def _prepare(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        if not sa.inspect(connection).has_table(META.name):
            for table in TABLES.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    index.create(connection, checkfirst=True)
            connection.execute(sa.insert(META), [{"name": "version", "value": VERSION}, {"name": "lost", "value": 0}])
        version = connection.scalar(sa.select(META.c.value).where(META.c.name == "version")) or 0
    if version > VERSION:
        msg = f"its version is {version}, and this one knows {VERSION}: upgrade providerhub-journal, or name another url"
        raise NewerError(msg)
