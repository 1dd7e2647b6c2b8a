"""Budgets of the plugin `providerhub-journal` that several processes keep together, through a real server."""

import subprocess
import sys
import time
from typing import NamedTuple

import pytest
import redis

from providerhub import (
    BudgetExceededError,
    ConfigurationError,
    Hub,
    ModelInfo,
    ProviderInfo,
    RetryPolicy,
    Settings,
    Shared,
    Usage,
    UsageDelta,
)
from providerhub_redis import RedisLedger

pytestmark = pytest.mark.unix


class Claim(NamedTuple):
    name: str
    period: str
    limit: int
    amount: int
    currency: str = "USD"


def a(amount, period="2026-05-04"):
    return Claim("a", period, 100, amount)


def b(amount):
    return Claim("b", "2026-05", 30, amount)


@pytest.fixture
def ledger(server, stack):
    made = RedisLedger(server.url, "shop")
    stack.callback(made.close)
    return made


@pytest.fixture
def state(server):
    def read():
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            found = {}
            for key in client.keys("*:budget:*"):
                if ":settled:" not in key and not key.endswith(":ends"):
                    spent, reserved = client.hmget(key, "spent", "reserved")
                    found[key.partition(":budget:")[2]] = int(spent or 0), int(reserved or 0)
            return found

    return read


def reserve(ledger, lease, *claims, seconds=60.0):
    now = time.time()
    return ledger.reserve(lease, claims, now, now + seconds)


def test_a_reservation_is_replaced_by_what_was_spent_once(ledger, state):
    assert reserve(ledger, "l1", a(60)) is None
    assert state() == {"a:2026-05-04": (0, 60)}
    for _ in range(2):
        ledger.settle("l1", [a(60)], 25)
    assert state() == {"a:2026-05-04": (25, 0)}


def test_a_budget_that_has_not_enough_left_refuses(ledger):
    assert reserve(ledger, "l1", a(60)) is None
    assert reserve(ledger, "l2", a(41)) == (a(41), 0, 60)
    assert reserve(ledger, "l3", a(40)) is None
    assert reserve(ledger, "l4", a(100, "2026-05-05")) is None


def test_of_several_budgets_all_are_reserved_or_none(ledger, state):
    assert reserve(ledger, "l1", a(20), b(20)) is None
    assert reserve(ledger, "l2", a(20), b(20)) == (b(20), 0, 20)
    assert state() == {"a:2026-05-04": (0, 20), "b:2026-05": (0, 20)}


def test_a_reservation_ends_by_itself_and_its_late_settlement_counts(ledger, state):
    assert reserve(ledger, "l1", a(60), seconds=0.0) is None
    assert reserve(ledger, "l2", a(60)) is None
    ledger.settle("l1", [a(60)], 10)
    assert state() == {"a:2026-05-04": (10, 60)}


def test_a_cost_counts_for_the_budgets_of_its_currency(ledger, state):
    claims = [a(60), Claim("c", "2026-05", 30, 20, "EUR")]
    reserve(ledger, "l1", *claims)
    ledger.settle("l1", claims, 15, "EUR")
    assert state() == {"a:2026-05-04": (0, 0), "c:2026-05": (15, 0)}


def test_only_a_budget_for_ever_is_kept_for_ever(ledger, server):
    reserve(ledger, "l1", a(1))
    reserve(ledger, "l2", Claim("c", "ever", 100, 1))
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert {key.rpartition(":")[2]: client.ttl(key) > 0 for key in client.keys("*:budget:?:*") if ":ends" not in key} == {
            "2026-05-04": True,
            "ever": False,
        }


PROCESS = """
import random, sys, time
from types import SimpleNamespace
from providerhub_redis import RedisLedger

url, name = sys.argv[1:]
ledger, rng = RedisLedger(url, "shop"), random.Random(name)
claim = SimpleNamespace(name="all", period="2026-05-04", limit=1000, amount=3, currency="USD")
spent = refused = number = 0
while refused < 5:
    number += 1
    now = time.time()
    if ledger.reserve(f"{name}-{number}", [claim], now, now + 60) is not None:
        refused += 1
        continue
    refused = 0
    spent += (cost := rng.choice([0, 1, 2, 3]))
    ledger.settle(f"{name}-{number}", [claim], cost)
print(spent)
"""


def test_processes_on_one_budget_are_never_over_it_and_never_stuck(server, state):
    children = [
        subprocess.Popen([sys.executable, "-c", PROCESS, server.url, f"p{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    spent = sum(int(child.communicate(timeout=100)[0]) for child in children)
    assert 1000 - 3 < spent <= 1000
    assert state() == {"all:2026-05-04": (spent, 0)}


class Seller:
    """Answers with ten tokens, each of which costs 1."""

    def stream(self, _request, _call):
        yield "fine"
        yield UsageDelta(Usage(0, 10))


@pytest.fixture
def hubs(server, stack, tmp_path):
    """Two hubs with the budget `all` in the server."""
    pytest.importorskip("providerhub_journal", reason="the budgets are those of providerhub-journal")

    def make(number=2, **budget):
        found = []
        for _ in range(number):
            settings = Settings(
                budgets={"all": {"limit": 25, **budget}},
                journal={"ledger": "shared", "url": f"sqlite:///{tmp_path / 'never.db'}"},
                shared=Shared(server.url, namespace="shop"),
                retry=RetryPolicy(backoff=0),
            )
            info = ProviderInfo(name="acme", models=(ModelInfo("m", price_in=0.0, price_out=1e6),))
            found.append(stack.enter_context(Hub(settings, providers=[(info, Seller())])))
        return found

    return make


def test_all_hubs_together_keep_the_budget(hubs, state, tmp_path):
    first, second = hubs()
    first.complete("m", "?", max_tokens=10)
    second.complete("m", "?", max_tokens=10)
    for hub in (first, second):
        with pytest.raises(BudgetExceededError, match="of 25 a day, 20 are spent"):
            hub.complete("m", "?", max_tokens=10)
    [(spent, reserved)] = state().values()
    assert (spent, reserved) == (20 * 10**9, 0)
    assert not (tmp_path / "never.db").exists()


@pytest.mark.parametrize("on_outage", ["refuse", "allow"])
def test_a_server_that_is_gone_refuses_or_not_as_the_budget_says(hubs, server, on_outage):
    [hub] = hubs(1, on_outage=on_outage)
    server.kill()
    if on_outage == "allow":
        assert hub.complete("m", "?", max_tokens=10).text == "fine"
    else:
        with pytest.raises(BudgetExceededError, match="cannot be asked"):
            hub.complete("m", "?", max_tokens=10)


@pytest.mark.parametrize(
    ("journal", "shared", "fix"),
    [
        ({"ledger": "shared"}, {}, "set url in"),
        ({"ledger": "paper"}, {}, "database, shared"),
    ],
)
def test_a_wrong_ledger_is_an_error_of_the_settings(journal, shared, fix):
    with pytest.raises(ConfigurationError, match=fix):
        Hub(Settings(autoload=True, budgets={"all": {"limit": 1}}, journal=journal, **shared))
