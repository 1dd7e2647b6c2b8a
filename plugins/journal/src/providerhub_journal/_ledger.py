"""The money that budgets have spent and reserved, in the journal's database, so that processes share it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import exc

from providerhub_journal._database import BUDGETS, LEASES, Watched, connect

BUSY = 10.0  # seconds for which a call waits for other processes; each keeps the lock for less than a millisecond
SET_BACK = 60.0  # seconds; a reservation that was made more than so long from now shows that the clock was set back
_FORGOTTEN = 86400.0  # seconds for which a reservation waits for its settlement after its end
_LIMITS = {"sqlite": "PRAGMA busy_timeout = {}", "postgresql": "SET LOCAL lock_timeout = {}"}  # in milliseconds
_TRIES = 5  # tries of a transaction that conflicts with another transaction


class Claim(NamedTuple):
    """The amount that a call reserves of one budget. Amounts are whole numbers of billionths.

    Args:
        name: The budget's name.
        period: The span of time, such as `"2026-05-04"`.
        limit: The most that may be spent and reserved in this span of time.
        amount: The amount to reserve.
        currency: The currency of the budget.
    """

    name: str
    period: str
    limit: int
    amount: int
    currency: str = "USD"


class Refusal(NamedTuple):
    """A budget without enough left, with its amounts in billionths.

    Args:
        claim: The claim that cannot be reserved.
        spent: The amount that it has spent.
        reserved: The amount that running calls have reserved.
    """

    claim: Claim
    spent: int
    reserved: int


class _RefusedError(Exception):
    """The argument is the `Refusal`. Raising it undoes the transaction."""


class Ledger:
    """Reserves and settles amounts. Thread-safe; each method is one transaction.

    Args:
        url: The SQLAlchemy address of the database.

    Raises:
        NewerError: The database has tables of a later version.
        sqlalchemy.exc.SQLAlchemyError: The database cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self._engine = connect(url, busy=BUSY)
        self._watched = Watched(url)

    @property
    def is_gone(self) -> bool:
        """Whether the file of the database was removed while it was open."""
        return self._watched.is_gone

    def reserve(self, lease: str, claims: Sequence[Claim], now: float, ends: float, patience: float = BUSY) -> Refusal | None:
        """Reserve an amount of each of several budgets, or of none.

        Args:
            lease: The unique name of the reservation.
            claims: The budgets; at least one.
            now: Unix time, in seconds.
            ends: Unix time at which the reservation ends by itself, in seconds.
            patience: Seconds for which another process may keep the budgets locked; at most `BUSY`.

        Returns:
            The budget without enough left; `None` if all is reserved.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database does not work.
        """

        def work(connection: sa.Connection) -> None:
            for claim in sorted(claims):  # with the same order everywhere, two transactions cannot wait for each other
                if not _take(connection, claim) and not (_begin(connection, claim, now) and _take(connection, claim)):
                    row = connection.execute(sa.select(BUDGETS.c.spent, BUDGETS.c.reserved).where(*_row(claim))).one()
                    raise _RefusedError(Refusal(claim, *row))
            rows = [
                {"id": lease, "name": claim.name, "period": claim.period, "amount": claim.amount, "taken": now, "ends": ends}
                for claim in claims
            ]
            connection.execute(sa.insert(LEASES), rows)

        try:
            self._run(work, patience)
        except _RefusedError as refused:
            found: Refusal = refused.args[0]
            return found
        return None

    def settle(self, lease: str, claims: Sequence[Claim], spent: int) -> None:
        """Replace a reservation by its cost, even if it has already ended. A second call does nothing.

        Args:
            lease: The name of the reservation.
            claims: The budgets that were given to `reserve`.
            spent: The amount; 0 gives the whole reservation back.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database does not work.
        """

        def work(connection: sa.Connection) -> None:
            for claim in sorted(claims):
                here = sa.and_(LEASES.c.id == lease, LEASES.c.name == claim.name)
                held = sa.select(LEASES.c.amount).where(here).scalar_subquery()
                values = {"reserved": BUDGETS.c.reserved - sa.func.coalesce(held, 0), "spent": BUDGETS.c.spent + spent}
                connection.execute(sa.update(BUDGETS).where(*_row(claim), sa.exists().where(here)).values(values))
                connection.execute(sa.delete(LEASES).where(here))

        self._run(work)

    def state(self) -> list[dict[str, Any]]:
        """The amounts that each budget has spent and reserved in each span of time, the latest first."""
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.select(BUDGETS).order_by(BUDGETS.c.period.desc())).mappings()]

    def close(self) -> None:
        """Close the connections. A later call opens others."""
        self._engine.dispose()

    def _run(self, work: Any, patience: float = BUSY) -> None:
        limit = _LIMITS.get(self._engine.dialect.name)
        for left in range(_TRIES, 0, -1):
            try:
                with self._engine.begin() as connection:
                    if limit:
                        connection.exec_driver_sql(limit.format(max(1, int(min(patience, BUSY) * 1000))))
                    work(connection)
            except exc.IntegrityError:  # another process has just made the same row
                if left == 1:
                    raise
            else:
                return


def _row(claim: Claim) -> tuple[sa.ColumnElement[bool], ...]:
    return BUDGETS.c.name == claim.name, BUDGETS.c.period == claim.period


def _take(connection: sa.Connection, claim: Claim) -> bool:
    """Reserve an amount in one atomic statement; false if there is no row, or not enough is left."""
    is_left = BUDGETS.c.spent + BUDGETS.c.reserved + claim.amount <= claim.limit
    query = sa.update(BUDGETS).where(*_row(claim), is_left).values(reserved=BUDGETS.c.reserved + claim.amount)
    return connection.execute(query).rowcount == 1


def _begin(connection: sa.Connection, claim: Claim, now: float) -> bool:
    """Make the row of a new period, or take back the reservations of ended processes; false if neither is necessary."""
    if connection.scalar(sa.select(BUDGETS.c.name).where(*_row(claim))) is None:
        connection.execute(sa.insert(BUDGETS).values(name=claim.name, period=claim.period, spent=0, reserved=0))
        return True
    ended = sa.and_(
        LEASES.c.name == claim.name, LEASES.c.period == claim.period, sa.or_(LEASES.c.ends < now, LEASES.c.taken > now + SET_BACK)
    )
    found = connection.execute(sa.select(LEASES.c.id, LEASES.c.amount).where(ended, LEASES.c.amount > 0).with_for_update()).all()
    given_back = 0
    for lease, amount in found:  # one by one: only one transaction gives each back, and each can be settled once
        here = LEASES.c.id == lease, LEASES.c.name == claim.name, LEASES.c.amount > 0
        given_back += amount if connection.execute(sa.update(LEASES).where(*here).values(amount=0)).rowcount == 1 else 0
    connection.execute(sa.delete(LEASES).where(LEASES.c.name == claim.name, LEASES.c.ends < now - _FORGOTTEN))
    connection.execute(sa.update(BUDGETS).where(*_row(claim)).values(reserved=BUDGETS.c.reserved - given_back))
    return bool(found)
