"""The ledger of budgets: with many processes too, no budget is exceeded, and no reservation stays."""

import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from providerhub_journal._database import TABLES
from providerhub_journal._ledger import Claim, Ledger

NOW = 1_800_000_000.0


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, url):
    if request.param == "sqlite":
        return url
    address = request.getfixturevalue("postgresql")
    engine = sa.create_engine(address)
    TABLES.drop_all(engine)
    engine.dispose()
    return address


@pytest.fixture
def ledger(where):
    made = Ledger(where)
    yield made
    made.close()


def state(ledger):
    return {row["name"]: (row["spent"], row["reserved"]) for row in ledger.state()}


def a(amount, period="2026-05-04"):
    return Claim("a", period, 100, amount)


def b(amount):
    return Claim("b", "2026-05", 30, amount)


def test_a_reservation_is_replaced_by_what_was_spent(ledger):
    assert ledger.reserve("l1", [a(60)], NOW, NOW + 60) is None
    assert state(ledger) == {"a": (0, 60)}
    ledger.settle("l1", [a(60)], 25)
    assert state(ledger) == {"a": (25, 0)}


def test_a_budget_that_has_not_enough_left_refuses(ledger):
    assert ledger.reserve("l1", [a(60)], NOW, NOW + 60) is None
    assert ledger.reserve("l2", [a(41)], NOW, NOW + 60) == (a(41), 0, 60)
    assert ledger.reserve("l3", [a(40)], NOW, NOW + 60) is None
    assert ledger.reserve("l4", [a(100, "2026-05-05")], NOW, NOW + 60) is None


def test_of_several_budgets_all_are_reserved_or_none(ledger):
    assert ledger.reserve("l1", [a(20), b(20)], NOW, NOW + 60) is None
    assert ledger.reserve("l2", [a(20), b(20)], NOW, NOW + 60) == (b(20), 0, 20)
    assert state(ledger) == {"a": (0, 20), "b": (0, 20)}


@pytest.mark.parametrize("later", [61.0, -3600.0])
def test_a_reservation_ends_by_itself_also_when_the_clock_was_set_back(ledger, later):
    assert ledger.reserve("l1", [a(60)], NOW, NOW + 60) is None
    assert ledger.reserve("l2", [a(60)], NOW + later, NOW + later + 60) is None
    ledger.settle("l1", [a(60)], 10)  # the settlement was late, but the cost counts
    assert state(ledger) == {"a": (10, 60)}


def test_a_settlement_counts_once(ledger):
    ledger.reserve("l1", [a(60)], NOW, NOW + 60)
    for _ in range(2):  # the answer of the database may be lost
        ledger.settle("l1", [a(60)], 25)
    assert state(ledger) == {"a": (25, 0)}
    ledger.settle("other", [a(60)], 25)
    assert state(ledger) == {"a": (25, 0)}


def test_a_reservation_of_a_process_that_has_gone_is_forgotten_after_a_day(ledger):
    ledger.reserve("l1", [a(60)], NOW, NOW + 60)
    for later in (100.0, 100_000.0):
        assert ledger.reserve(f"l{later}", [a(60)], NOW + later, NOW + later + 60) is None
    ledger.settle("l1", [a(60)], 25)
    assert state(ledger) == {"a": (0, 60)}


PROCESS = """
import random, sys, time
from providerhub_journal._ledger import Claim, Ledger

url, name = sys.argv[1:]
ledger, claim, rng = Ledger(url), Claim("all", "2026-05-04", 1000, 3), random.Random(name)
spent = refused = number = 0
while refused < 5:
    number += 1
    lease = f"{name}-{number}"
    now = time.time()
    if ledger.reserve(lease, [claim], now, now + 60) is not None:
        refused += 1
        continue
    refused = 0
    spent += (cost := rng.choice([0, 1, 2, 3]))
    ledger.settle(lease, [claim], cost)
ledger.close()
print(spent)
"""


@pytest.mark.once
def test_sixteen_processes_on_one_budget_are_never_over_it_and_never_stuck(where, ledger):
    began = time.monotonic()
    children = [
        subprocess.Popen([sys.executable, "-c", PROCESS, where, f"p{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(16)
    ]
    spent = [int(child.communicate(timeout=100)[0]) for child in children]
    assert [child.returncode for child in children] == [0] * 16
    assert time.monotonic() - began < 100
    assert 1000 - 3 < sum(spent) <= 1000
    assert state(ledger) == {"all": (sum(spent), 0)}
