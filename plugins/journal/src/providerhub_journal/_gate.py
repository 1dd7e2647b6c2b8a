"""The gate that refuses attempts whose budgets have too little left."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from providerhub import Attempt, BudgetExceededError, CallRecord, Candidate, ConfigurationError, Cost, Usage
from providerhub_journal._budget import Budget
from providerhub_journal._rows import UNIT, as_units
from providerhub_journal._worker import RETRY, Worker, reason

if TYPE_CHECKING:  # slow to import
    from importlib.metadata import EntryPoint

LEDGERS = "providerhub_journal.ledgers"  # entry-point group of ledgers in shared stores; a name is the scheme of an address
GRACE = 60.0  # a reservation ends by itself this many seconds after the deadline of its call

_numbers = itertools.count(1)


class Token(NamedTuple):
    """One reservation.

    Args:
        lease: Its name in the ledger.
        claims: The budgets, as the ledger takes them.
        candidate: The provider and model.
    """

    lease: str
    claims: tuple[Any, ...]
    candidate: Candidate


class Ended(NamedTuple):
    """An ended reservation, and its cost, in billionths of a currency's unit."""

    token: Token
    spent: int = 0
    currency: str = "USD"


class Gate(Worker[Ended]):
    """Reserves the highest cost of an attempt before it is sent, and settles the reservation in its own thread.

    Args:
        budgets: The budgets of the settings.
        url: The SQLAlchemy address of the journal's database, or the address of the shared store.
        namespace: The namespace in the shared store; empty for the database.
    """

    def __init__(self, budgets: Sequence[Budget], url: str, namespace: str = "") -> None:
        self._budgets = tuple(budgets)
        self._url, self._namespace = url, namespace
        super().__init__()

    def _begin(self) -> None:
        super()._begin()
        self._opening = threading.Lock()
        self._ledger: Any = None
        self._failed: Exception | None = None
        self._failed_until = 0.0
        self._owed: list[Ended] = []

    def reserve(self, call: CallRecord, candidate: Candidate, bound: Usage) -> Token | None:
        """Reserve the highest possible cost of an attempt in each budget that fits it.

        Returns:
            The reservation; `None` when no budget fits.

        Raises:
            BudgetExceededError: A budget has too little left, the cost is unknown, or the database does not work.
        """
        fitting = [one for one in self._budgets if one.fits(candidate.provider, candidate.model, call.metadata)]
        if not fitting:
            return None
        now = time.time()
        most = candidate.prices.most(bound) if candidate.prices is not None else None
        claims = tuple(self._claim(budget, candidate, most, now) for budget in fitting)
        token = Token(f"{call.id}.{os.getpid()}.{next(_numbers)}", claims, candidate)
        ends = max(now, call.started + call.timeout) + GRACE
        patience = (ends - GRACE - now) / 2  # the other half of the time is for the answer
        try:
            refusal = self._opened().reserve(token.lease, claims, now, ends, patience)
            if refusal is not None and self.flush():  # amounts that earlier calls gave back may still wait in memory
                refusal = self._opened().reserve(token.lease, claims, now, ends, patience)
        except Exception as error:  # the database may be down, locked or of another version
            self._pass_in_outage(fitting, error)
            return None
        if refusal is not None:
            raise BudgetExceededError(_words(refusal, next(one for one in fitting if one.name == refusal[0].name)))
        return token

    def settle(self, token: Token, attempt: Attempt, used: Usage) -> None:
        """Replace a reservation by the cost of its attempt. Does not wait."""
        cost = attempt.cost
        if cost is None and token.candidate.prices is not None:
            cost = token.candidate.prices.most(used)
        self._add(Ended(token) if cost is None else Ended(token, as_units(cost.amount), cost.currency))

    def release(self, token: Token) -> None:
        """Give a whole reservation back. Does not wait."""
        self._add(Ended(token))

    def close(self) -> None:
        """Settle the ended attempts, and close the connections."""
        super().close()
        if self._ledger is not None:
            self._ledger.close()

    def _claim(self, budget: Budget, candidate: Candidate, most: Cost | None, now: float) -> Any:
        from providerhub_journal._ledger import Claim  # SQLAlchemy is slow to import

        if most is not None and most.currency != budget.currency:
            most = None
        if most is None and budget.unknown_price == "refuse":
            prices = candidate.prices
            is_priced = prices is not None and None not in (prices.input, prices.output) and prices.currency == budget.currency
            need = "the max_tokens of the call" if is_priced else "price_in and price_out of the model"
            msg = (
                f"budget {budget.name!r}: the most that a call of {candidate} may cost in {budget.currency} is unknown; set "
                f'{need}, or unknown_price = "allow" in the budget'
            )
            raise BudgetExceededError(msg)
        return Claim(budget.name, budget.period(now), budget.limit, 0 if most is None else as_units(most.amount), budget.currency)

    def _pass_in_outage(self, fitting: Sequence[Budget], error: Exception) -> None:
        """Let a call pass, or refuse it, while its budgets cannot be read."""
        strict = next((one.name for one in fitting if one.on_outage == "refuse"), None)
        if strict is not None:
            msg = f'budget {strict!r} cannot be asked ({reason(error)}); on_outage = "allow" lets calls pass meanwhile'
            raise BudgetExceededError(msg) from error
        self._once("outage", f"budgets cannot be asked, so calls pass without them: {reason(error)}")

    def _opened(self) -> Any:
        with self._opening:
            if self._ledger is not None and self._ledger.is_gone:
                self._once(
                    "gone", "the database of the budgets was removed while it was open; in a new one, nothing is spent yet"
                )
                self._ledger.close()
                self._ledger = None
            if self._ledger is None:
                if self._failed is not None and time.monotonic() < self._failed_until:
                    raise self._failed
                self._ledger = self._open()
            return self._ledger

    def _open(self) -> Any:
        try:
            if self._namespace:
                return shared_ledger(self._url).load()(self._url, self._namespace)
            return _database_ledger(self._url)
        except Exception as error:  # the waiting calls must not try one after another
            self._failed, self._failed_until = error, time.monotonic() + RETRY
            raise

    def _work(self, items: list[Ended]) -> bool:
        self._owed = [one for one in (*self._owed, *items) if not self._settled(*one)]
        return not self._owed

    def _settled(self, token: Token, spent: int, currency: str) -> bool:
        counted = [claim for claim in token.claims if claim.currency == currency]
        others = [claim for claim in token.claims if claim.currency != currency]
        try:
            for claims, amount in ((others, 0), (counted, spent)):  # in this order, a second try counts nothing twice
                if claims:
                    self._opened().settle(token.lease, claims, amount)
        except Exception as error:
            self._once("outage", f"what calls cost cannot be written to their budgets, and is tried again: {reason(error)}")
            return False
        self._logged.discard("outage")
        return True


def _database_ledger(url: str) -> Any:
    from providerhub_journal._ledger import Ledger  # SQLAlchemy is slow to import

    return Ledger(url)


def shared_ledger(url: str) -> EntryPoint:
    """The plugin that keeps budgets in the store with this address.

    Args:
        url: The address of the store.

    Raises:
        ConfigurationError: No plugin keeps budgets there.
    """
    from importlib.metadata import entry_points  # slow to import; few programs share their budgets

    scheme = url.partition(":")[0]
    found: list[EntryPoint] = [*entry_points(group=LEDGERS, name=scheme)]
    if not found:
        msg = f"journal.ledger: no installed plugin keeps budgets at an address {scheme}://; install providerhub-redis"
        raise ConfigurationError(msg)
    return found[0]


def _words(refusal: Any, budget: Budget) -> str:
    claim, spent, reserved = refusal
    amounts = (claim.amount, claim.limit, spent, reserved)
    amount, limit, spent, reserved = (f"{Decimal(value) / UNIT:,.6f}".rstrip("0").rstrip(".") for value in amounts)
    span = "in total" if budget.per == "ever" else f"a {budget.per}"
    return (
        f"budget {budget.name!r} has not enough left for a call that may cost {amount} {budget.currency}: of {limit} {span}, "
        f"{spent} are spent and {reserved} are reserved; raise the limit, set a lower max_tokens, or wait"
    )
