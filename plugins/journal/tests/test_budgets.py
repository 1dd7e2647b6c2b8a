"""Budgets: no call is sent that could exceed a budget, and every reservation ends."""

import asyncio
import contextlib
import gc
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from providerhub import (
    BudgetExceededError,
    Completion,
    ConfigurationError,
    Hub,
    ModelInfo,
    ProviderConnectionError,
    ProviderInfo,
    RetryPolicy,
    Settings,
    Usage,
    UsageDelta,
)
from providerhub_journal import _database, _gate, _worker
from providerhub_journal._gate import Gate

PRICES = {"price_in": 0.0, "price_out": 1_000_000.0}  # a token of the answer costs 1


class Seller:
    """Answers with a number of tokens, each of which costs the price of its model."""

    def __init__(self, *script):
        self.script = script or ("Hallo", 10)
        self.calls = 0

    def stream(self, request, call):
        self.calls += 1
        for piece in self.script:
            if isinstance(piece, Exception):
                raise piece
            yield UsageDelta(Usage(0, piece)) if isinstance(piece, int) else piece


@pytest.fixture
def make(url):
    """`make(seller, limit=100)`: a hub with the budget `all`; further keywords are keys of the budget."""
    hubs = []

    def made(*sellers, prices=(PRICES,), tables=None, where=url, **budget):
        settings = Settings(
            budgets=tables or {"all": {"limit": 100, **budget}}, journal={"url": where}, retry=RetryPolicy(backoff=0)
        )
        pairs = [
            (ProviderInfo(name=f"p{number}", models=(ModelInfo("m", **prices[min(number, len(prices) - 1)]),)), seller)
            for number, seller in enumerate(sellers)
        ]
        hubs.append(Hub(settings, providers=pairs))
        return hubs[-1]

    yield made
    for hub in hubs:
        hub.close()


def state():
    """What the budgets have spent and reserved, once all that has ended is settled."""
    (gate,) = (one for one in _worker._shared.values() if isinstance(one, Gate))
    assert gate.flush()
    return {row["name"]: (row["spent"] / 10**9, row["reserved"] / 10**9) for row in gate._ledger.state()}


def test_calls_are_settled_at_what_they_cost_until_the_budget_is_used_up(make):
    seller = Seller()
    hub = make(seller)
    for _ in range(10):
        hub.complete("m", "x", max_tokens=10)
    assert state() == {"all": (100, 0)}
    with pytest.raises(BudgetExceededError, match=r"may cost 10 USD: of 100 a day, 100 are spent"):
        hub.complete("m", "x", max_tokens=10)
    assert seller.calls == 10


def test_the_reservation_is_an_upper_bound(make):
    hub = make(Seller())
    with pytest.raises(BudgetExceededError, match="may cost 101 USD"):
        hub.complete("m", "x", max_tokens=101)


@pytest.mark.parametrize("known", [{"context_window": 101}, {"context_window": 1000, "max_output_tokens": 101}])
def test_the_models_maximum_bounds_a_call_without_max_tokens(make, known):
    hub = make(Seller(), prices=[{**PRICES, **known}])
    with pytest.raises(BudgetExceededError, match="may cost 101 USD"):
        hub.complete("m", "x")


def test_a_call_of_unknown_price_is_refused_or_allowed(make):
    with pytest.raises(BudgetExceededError, match=r"the most that a call of p0/m may cost in USD is unknown; set the max_tokens"):
        make(Seller()).complete("m", "x")
    with pytest.raises(BudgetExceededError, match=r"in USD is unknown; set price_in and price_out of the model, or"):
        make(Seller(), prices=[{}]).complete("m", "x", max_tokens=1)
    seller = Seller()
    assert make(seller, prices=[{}], unknown_price="allow").complete("m", "x").text == "Hallo"
    with pytest.raises(BudgetExceededError, match="in EUR is unknown"):
        make(Seller(), currency="EUR").complete("m", "x", max_tokens=1)


def test_a_cheaper_candidate_is_asked_when_the_first_one_is_too_expensive(make):
    dear, cheap = Seller(), Seller()
    hub = make(dear, cheap, prices=[PRICES, {"price_in": 0.0, "price_out": 100_000.0}])
    answer = hub.complete(["p0/m", "p1/m"], "x", max_tokens=500)
    assert (answer.provider, dear.calls) == ("p1", 0)
    assert [(skip.provider, skip.reason) for skip in answer.route.skipped] == [("p0", "over budget")]
    assert state() == {"all": (1, 0)}


def test_only_calls_that_match_count(make):
    tables = {
        "team": {"limit": 10, "match": {"team": ["search", "ads"]}},
        "model": {"limit": 1000, "match": {"model": "m*", "provider": "p0"}},
        "other": {"limit": 1, "match": {"provider": "p9"}},
    }
    hub = make(Seller(), tables=tables)
    hub.complete("m", "x", max_tokens=10, metadata={"team": "ads"})
    hub.complete("m", "x", max_tokens=10, metadata={"team": "none"})
    assert state() == {"team": (10, 0), "model": (20, 0)}
    with pytest.raises(BudgetExceededError, match="budget 'team' has not enough left"):
        hub.complete("m", "x", max_tokens=10, metadata={"team": "search"})


@pytest.mark.parametrize("script", [(ProviderConnectionError("refused"),), (ValueError("refused"),)])
def test_a_failed_attempt_gives_its_reservation_back(make, script):
    hub = make(Seller(*script))
    with pytest.raises(Exception, match="refused"):
        hub.complete("m", "x", max_tokens=60)
    assert state() == {"all": (0, 0)}


@pytest.mark.parametrize("end", ["close", "garbage"])
def test_an_abandoned_stream_is_settled_at_what_was_seen(make, end):
    hub = make(Seller("abc", "def", "ghi", 9))
    stream = hub.complete("m", "x", stream=True, max_tokens=60)
    assert next(iter(stream)) == "abc"
    assert state() == {"all": (0, 60)}
    if end == "close":
        stream.close()
    del stream
    gc.collect()
    spent, reserved = state()["all"]
    assert 1 <= spent <= 6
    assert reserved == 0


def test_budgets_hold_in_an_event_loop(make):
    hub = make(Seller())

    async def ask():
        return await hub.acomplete("m", "x", max_tokens=10)

    async def main():
        return await asyncio.gather(*(ask() for _ in range(15)), return_exceptions=True)

    results = asyncio.run(main())
    answered = [result for result in results if isinstance(result, Completion)]
    refused = [result for result in results if isinstance(result, BudgetExceededError)]
    assert len(answered) + len(refused) == 15
    assert 1 <= len(answered) <= 10
    assert state() == {"all": (10 * len(answered), 0)}


def test_a_database_that_does_not_work_refuses_or_allows(make, tmp_path, url, caplog):
    (tmp_path / "calls.db").mkdir()
    with pytest.raises(BudgetExceededError, match=r"budget 'all' cannot be asked \(OperationalError: .*on_outage = \"allow\""):
        make(Seller()).complete("m", "x", max_tokens=1)
    hub = make(Seller(), on_outage="allow")
    assert hub.complete("m", "x", max_tokens=1000).text == "Hallo"
    assert hub.complete("m", "x", max_tokens=1000).text == "Hallo"
    assert len([line for line in caplog.messages if "budgets cannot be asked, so calls pass without them" in line]) == 1


def database(url):
    return contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///")))


def test_costs_in_another_currency_do_not_count(make):
    hub = make(Seller(), tables={"euro": {"limit": 1, "currency": "EUR", "unknown_price": "allow"}, "dollar": {"limit": 100}})
    hub.complete("m", "x", max_tokens=10)
    assert state() == {"dollar": (10, 0), "euro": (0, 0)}


def test_a_reservation_ends_a_minute_after_the_deadline_of_its_call(make, url):
    before = time.time()
    with make(Seller("a", "b")).complete("m", "x", stream=True, max_tokens=10, timeout=300) as stream:
        next(iter(stream))
        with database(url) as reading:
            ((taken, ends),) = reading.execute("select taken, ends from providerhub_leases").fetchall()
    assert before + 360 <= ends <= taken + 360


def test_a_locked_database_leaves_a_call_half_of_its_time(make, url, caplog):
    hub = make(Seller(), on_outage="allow")
    hub.complete("m", "x", max_tokens=1)
    assert state() == {"all": (10, 0)}
    with database(url) as other:
        other.execute("BEGIN IMMEDIATE")
        assert hub.complete("m", "x", max_tokens=1, timeout=2).text == "Hallo"
    (line,) = [line for line in caplog.messages if "calls pass without them" in line]
    assert "database is locked" in line


def test_a_server_that_does_not_answer_is_an_outage(make, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setattr(_database, "CONNECT", 2)  # the least that the driver takes
    monkeypatch.setattr(_gate, "RETRY", 600.0)
    with socket.create_server(("127.0.0.1", 0)) as server:  # it accepts connections, and never answers
        hub = make(Seller(), where=f"postgresql+psycopg://u@127.0.0.1:{server.getsockname()[1]}/x")
        for _ in range(3):  # the second and the third do not wait again
            with pytest.raises(BudgetExceededError, match=r"cannot be asked \(ConnectionTimeout"):
                hub.complete("m", "x", max_tokens=1)
        server.settimeout(0)
        tried = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                server.accept()[0].close()
                tried += 1
    assert tried == 1


def test_a_database_of_a_later_version_is_an_outage(make, url):
    make(Seller()).complete("m", "x", max_tokens=1)
    assert state() == {"all": (10, 0)}
    with database(url) as other, other:
        other.execute("update providerhub_journal set value = 2 where name = 'version'")
    with pytest.raises(
        BudgetExceededError, match=r"cannot be asked \(NewerError: its version is 2, .*upgrade providerhub-journal"
    ):
        make(Seller(), limit=99).complete("m", "x", max_tokens=1)


@pytest.mark.unix
def test_a_database_that_was_removed_is_made_anew_with_one_line(make, url, caplog):
    hub = make(Seller())
    hub.complete("m", "x", max_tokens=1)
    assert state() == {"all": (10, 0)}
    for file in Path(url.removeprefix("sqlite:///")).parent.glob("calls.db*"):
        file.unlink()
    hub.complete("m", "x", max_tokens=1)
    assert state() == {"all": (10, 0)}
    assert [line for line in caplog.messages if "the database of the budgets was removed while it was open" in line]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"limits": 3}, "unknown key 'budgets.all.limits'; the known ones are limit, per"),
        ({}, "budgets.all.limit must be a positive amount of money up to 4000000000, such as limit = 20.00, not None"),
        *(({"limit": much}, "positive amount of money up to 4000000000, such as") for much in (1e300, 1e12, 10**30, 0)),
        *(
            ({"limit": 1, "match": {"model": odd}}, "budgets.all.match.model must be a name or names")
            for odd in (5, ["a", 5], None)
        ),
        ({"limit": True}, "budgets.all.limit must be a positive amount of money"),
        ({"limit": 1, "per": "year"}, "budgets.all.per must be one of hour, day, week, month, ever, not 'year'"),
        ({"limit": 1, "on_outage": "maybe"}, "budgets.all.on_outage must be one of refuse, allow, not 'maybe'"),
        ({"limit": 1, "match": "x"}, "budgets.all.match must be a table"),
    ],
)
def test_wrong_budgets_are_refused_when_the_hub_is_made(table, message):
    with pytest.raises(ConfigurationError, match=message):
        Hub(Settings(budgets={"all": table}))


PROCESS = """
import sys
from providerhub import BudgetExceededError, Hub, ModelInfo, ProviderInfo, Settings, Usage, UsageDelta

class Seller:
    def stream(self, request, call):
        yield "Hallo"
        yield UsageDelta(Usage(0, 5))

settings = Settings(budgets={"all": {"limit": 1000, "per": "ever"}}, journal={"url": sys.argv[1]})
model = ModelInfo("m", price_in=0.0, price_out=1_000_000.0)
answered = refused = 0
with Hub(settings, providers=[(ProviderInfo(name="a", models=(model,)), Seller())]) as hub:
    while refused < 3:
        try:
            hub.complete("m", "x", max_tokens=7)
        except BudgetExceededError:
            refused += 1
        else:
            answered += 1
            if sys.argv[2] == "killed":
                import os, signal
                print("begun", flush=True)
                stream = hub.complete("m", "x", max_tokens=7, stream=True)
                os.kill(os.getpid(), signal.SIGKILL)
print(answered)
"""


@pytest.mark.once
@pytest.mark.unix
def test_sixteen_processes_spend_one_budget_of_a_thousand_and_no_more(url):
    def start(end):
        return subprocess.Popen([sys.executable, "-c", PROCESS, url, end], stdout=subprocess.PIPE, text=True)

    children = [start("killed")]
    assert children[0].stdout.readline() == "begun\n"  # before the others have spent all
    children += [start("alive") for _ in range(15)]
    answered = [child.communicate(timeout=110)[0] for child in children]
    assert [child.returncode for child in children] == [-9] + [0] * 15
    spent = 5 * sum(map(int, filter(None, answered)))
    assert 1000 - 5 * 4 - 2 * 7 <= spent <= 1000
