"""Reading the tables of the journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from providerhub_journal._config import Row
from providerhub_journal._database import ATTEMPTS, CALLS, META, UNIT

BY = ("day", "provider", "model", "program", "asked", "outcome", "error")  # the columns by which calls can be grouped


class Filter(NamedTuple):
    """The condition for the wanted calls.

    Args:
        since: Unix time in seconds; earlier calls are left out. Default 0: none.
        text: A text that the call, its metadata or its content must hold; empty for any.
        provider: The provider that answered, or was asked last; empty for any.
        model: The model of the provider, or as the caller named it; empty for any.
        failed: Whether only calls with an error are wanted.
    """

    since: float = 0.0
    text: str = ""
    provider: str = ""
    model: str = ""
    failed: bool = False

    def clauses(self) -> Iterator[sa.ColumnElement[bool]]:
        """The conditions for the query."""
        if self.since:
            yield CALLS.c.started >= self.since
        if self.provider:
            yield CALLS.c.provider == self.provider
        if self.model:
            yield sa.or_(CALLS.c.model == self.model, CALLS.c.asked == self.model)
        if self.failed:
            yield CALLS.c.outcome == "error"
        if self.text:
            names = ("id", "asked", "model", "provider", "error", "message", "answer", "request_id")
            texts = [*(CALLS.c[name] for name in names), *(sa.cast(CALLS.c[name], sa.Text) for name in ("metadata", "prompt"))]
            # JSON writes characters outside ASCII as escapes.
            forms = {self.text, ascii(self.text)[1:-1].replace("\\x", "\\u00")}
            yield sa.or_(*(text.icontains(form, autoescape=True) for text in texts for form in forms))


def calls(engine: sa.Engine, wanted: Filter, most: int | None = None) -> Iterator[Row]:
    """The calls, the latest first.

    Args:
        engine: The database.
        wanted: The filter of the calls.
        most: The maximum number of calls; `None` for all.

    Yields:
        One mapping for each call.
    """
    query = sa.select(CALLS).where(*wanted.clauses()).order_by(CALLS.c.started.desc(), CALLS.c.n.desc()).limit(most)
    with engine.connect() as connection:
        for row in connection.execution_options(yield_per=500).execute(query).mappings():
            yield _shown(row)


def call(engine: sa.Engine, name: str) -> tuple[list[Row], list[Row]]:
    """The calls whose identifier begins or ends with a text (`"last"`: the latest call), and the attempts of the first call.

    Returns:
        At most two calls, the latest first; and the attempts in the order of their numbers.
    """
    clause = (
        sa.true()
        if name == "last"
        else sa.or_(CALLS.c.id.startswith(name, autoescape=True), CALLS.c.id.endswith(name, autoescape=True))
    )
    order = (CALLS.c.id == name).desc(), CALLS.c.n.desc()
    query = sa.select(CALLS).where(clause).order_by(*order).limit(1 if name == "last" else 2)
    with engine.connect() as connection:
        found = [_shown(row) for row in connection.execute(query).mappings()]
        exact = found[:1] if found and found[0]["id"] == name else found
        tries = sa.select(ATTEMPTS).where(ATTEMPTS.c.call == exact[0]["id"]).order_by(ATTEMPTS.c.number) if exact else None
        return exact, [] if tries is None else [_shown(row) for row in connection.execute(tries).mappings()]


def conversations(engine: sa.Engine, program: str) -> Iterator[Row]:
    """The latest answered call of a program whose content is kept, if there is one."""
    query = sa.select(CALLS).where(CALLS.c.program == program, CALLS.c.prompt.is_not(None), CALLS.c.answer.is_not(None))
    with engine.connect() as connection:
        for row in connection.execute(query.order_by(CALLS.c.n.desc()).limit(1)).mappings():
            yield _shown(row)


def sums(engine: sa.Engine, wanted: Filter, by: Sequence[str]) -> list[Row]:
    """Calls, tokens and costs by one or more columns.

    Args:
        engine: The database.
        wanted: The filter of the calls.
        by: Names of `BY`. Any other text is a key of the metadata.

    Returns:
        One mapping for each combination of values. `costs` has the sum of each currency; `unknown` is the number of answered
        calls without a known cost.
    """
    keys = [(CALLS.c[name] if name in BY else CALLS.c.metadata[name].as_string()).label(name) for name in by]
    columns = [
        sa.func.count().label("calls"),
        _count(CALLS.c.outcome == "error").label("failures"),
        _count(CALLS.c.attempts > 1).label("fallbacks"),
        _count(sa.and_(CALLS.c.cost.is_(None), CALLS.c.attempts > 0, CALLS.c.outcome != "error")).label("unknown"),
        sa.func.sum(CALLS.c.input_tokens).label("input_tokens"),
        sa.func.sum(CALLS.c.output_tokens).label("output_tokens"),
        sa.func.avg(CALLS.c.duration).label("duration"),
        sa.func.max(CALLS.c.duration).label("longest"),
    ]
    where, cost = tuple(wanted.clauses()), sa.func.sum(CALLS.c.cost).label("cost")
    costly = sa.select(*keys, CALLS.c.currency.label("currency"), cost).where(*where, CALLS.c.cost.is_not(None))
    costs: dict[tuple[Any, ...], dict[str, float]] = {}
    with engine.connect() as connection:
        for row in connection.execute(costly.group_by(*keys, CALLS.c.currency)).mappings():
            costs.setdefault(tuple(row[name] for name in by), {})[row["currency"]] = int(row["cost"]) / UNIT
        rows = connection.execute(sa.select(*keys, *columns).where(*where).group_by(*keys).order_by(*keys)).mappings()
        return [_whole({**row, "costs": costs.get(tuple(row[name] for name in by), {})}) for row in rows]


def lost(engine: sa.Engine) -> int:
    """The number of calls that could not be written."""
    with engine.connect() as connection:
        return connection.scalar(sa.select(META.c.value).where(META.c.name == "lost")) or 0


def _count(clause: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((clause, 1), else_=0))


def _shown(row: Any) -> Row:
    """A row without its number, with the cost in the unit of its currency."""
    found = {name: value for name, value in row.items() if name != "n"}
    return {**found, "cost": None if found["cost"] is None else found["cost"] / UNIT}


def _whole(row: Row) -> Row:
    """A sum with whole numbers, since PostgreSQL returns a decimal."""
    counts = ("input_tokens", "output_tokens", "failures", "fallbacks", "unknown")
    return {**row, **{name: None if row[name] is None else int(row[name]) for name in counts}}
