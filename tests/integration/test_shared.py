"""Several hubs that share their state through a store in memory, as processes do through a server."""

import pickle
from typing import ClassVar

import attrs
import pytest

from providerhub import (
    AuthenticationError,
    CapabilityError,
    ConfigurationError,
    Fact,
    Hub,
    ModelInfo,
    ProviderConfig,
    ProviderHubError,
    ProviderInfo,
    QuotaExceededError,
    RateLimitError,
    Secret,
    ServerError,
    Settings,
    Shared,
)
from providerhub.testing import FakeClock


class Bus:
    """Passes facts on at once, and keeps them for stores that come later."""

    def __init__(self):
        self.stores, self.facts = [], []

    def store(self):
        return Store(self)


class Store:
    namespace, on_outage, answer = "shop", "local", 0.005

    def __init__(self, bus):
        self.bus, self.told, self.closed = bus, None, False

    def start(self, told):
        self.told = told
        self.bus.stores.append(self)
        for fact in self.bus.facts:
            told(fact)

    def tell(self, fact):
        self.bus.facts.append(fact)
        for store in self.bus.stores:
            if store is not self:
                store.told(fact)

    def close(self):
        self.closed = True


class Scripted:
    def __init__(self):
        self.error, self.asked = None, 0

    def stream(self, _request, _call):
        self.asked += 1
        if self.error:
            raise self.error
        yield "fine"


INFO = ProviderInfo(name="acme", models=(ModelInfo("m"), ModelInfo("n")), needs_auth=True)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def bus():
    return Bus()


@pytest.fixture
def worker(bus, clock):
    hubs = []

    def make(name="acme", key="sk-1", url="https://api.acme.example", **config):
        hub, provider = Hub(Settings(autoload=False), shared=bus.store(), clock=clock, rng=lambda: 0.5), Scripted()
        hubs.append(hub)
        hub.register(attrs.evolve(INFO, name=name), provider, config=ProviderConfig(url=url, api_key=key, **config))
        return hub, provider

    yield make
    for hub in hubs:
        hub.close()


def refused(hub, provider, error, model="acme/m"):
    provider.error = error
    with pytest.raises(ProviderHubError):
        hub.complete(model, "?", timeout=0.5)
    provider.error = None


LIMIT = RateLimitError("slow", status=429, retry_after=60.0)
NO_KEY = AuthenticationError("bad", status=401)


def test_only_the_model_is_paused_whose_rate_is_limited(worker):
    (first, asked), (second, idle) = worker(), worker()
    refused(first, asked, LIMIT)
    assert second.complete("acme/n", "?").text == "fine"
    with pytest.raises(ProviderHubError):
        second.complete("acme/m", "?", timeout=1.0)
    assert idle.asked == 1


def test_the_process_that_was_refused_asks_again_first(worker, clock):
    (first, _), (second, _) = worker(), worker()
    refused(*worker(), LIMIT)
    ends = [max(one.retry_in for one in hub.health()) for hub in (first, second)]
    assert all(60 < end <= 60 * 1.1 + 5 for end in ends)
    clock.advance(70.0)
    assert second.complete("acme/m", "?").text == "fine"


def test_a_statement_about_the_instance_by_another_name(worker):
    """Two processes may name the same account differently."""
    (first, asked), (second, idle) = worker(), worker("other")
    refused(first, asked, QuotaExceededError("no money", status=402))
    with pytest.raises(ProviderHubError):
        second.complete("other/m", "?", timeout=1.0)
    assert idle.asked == 0


@pytest.mark.parametrize(
    "other", [{"key": "sk-2"}, {"url": "https://eu.acme.example"}, {"headers": {"x-project": "b"}}], ids=["key", "url", "header"]
)
def test_another_account_is_not_paused(worker, other):
    (first, asked), (second, _) = worker(), worker(**other)
    refused(first, asked, NO_KEY)
    assert second.complete("acme/m", "?").text == "fine"


def test_failures_stay_with_the_process_that_has_them(worker, bus):
    hub, provider = worker()
    for _ in range(6):
        refused(hub, provider, ServerError("down", status=500))
    assert any(one.state == "open" for one in hub.health())
    assert bus.facts == []


def test_a_failing_server_that_names_a_time_is_heard_by_all(worker):
    (first, asked), (second, idle) = worker(), worker()
    refused(first, asked, ServerError("later", status=503, retry_after=30.0))
    assert [one.pause for one in second.health()] == ["rate limited"]
    assert idle.asked == 0


def test_a_fact_waits_until_the_provider_is_there(bus, clock):
    first, provider = Hub(Settings(autoload=False), shared=bus.store(), clock=clock), Scripted()
    config = ProviderConfig(url="https://api.acme.example", api_key="sk-1")
    first.register(INFO, provider, config=config)
    late = Hub(Settings(autoload=False), shared=bus.store(), clock=clock)
    refused(first, provider, NO_KEY)
    idle = Scripted()
    late.register(INFO, idle, config=config)
    with pytest.raises(ProviderHubError):
        late.complete("acme/m", "?", timeout=1.0)
    assert idle.asked == 0


def test_a_fact_waits_until_the_key_is_read(bus, clock):
    """The scope of an account whose key comes from a command is not known before the key is."""
    secret = Secret.later(Source())
    first, second = (Hub(Settings(autoload=False), shared=bus.store(), clock=clock) for _ in range(2))
    provider, idle = Scripted(), Scripted()
    first.register(INFO, provider, config=ProviderConfig(url="https://api.acme.example", api_key="sk-1"))
    second.register(INFO, idle, config=ProviderConfig(url="https://api.acme.example", api_key=secret))
    refused(first, provider, NO_KEY)
    assert second.complete("acme/m", "?").text == "fine"
    assert secret.reveal() == "sk-1"
    clock.advance(1.0)
    with pytest.raises(ProviderHubError):
        second.complete("acme/m", "?", timeout=1.0)
    assert idle.asked == 1


class Source:
    def read(self):
        return "sk-1"


def test_facts_about_unknown_accounts_are_forgotten_at_their_end(worker, bus, clock):
    hub, _ = worker()
    bus.stores[0].told(Fact("elsewhere:00", "m", "rate limited", 5.0))
    hub.complete("acme/m", "?")
    assert len(hub._sharing.pending) == 1
    clock.advance(6.0)
    hub.complete("acme/m", "?")
    assert hub._sharing.pending == {}


def test_facts_are_remembered_up_to_a_number(worker, bus):
    hub, _ = worker()
    for number in range(1100):
        bus.stores[0].told(Fact(f"elsewhere:{number}", "m", "rate limited", 60.0))
    assert len(hub._sharing.pending) == len(hub._sharing._known) == 1000


def test_a_longer_pause_is_told_and_a_repeated_one_is_not(worker, bus):
    hub, provider = worker()
    for seconds in (60.0, 60.0, 300.0):
        hub._health.on_fact(("acme", "m"), "rate limited", seconds)
    assert [fact.seconds for fact in bus.facts] == [60.0, 300.0]
    hub.forgive("acme")
    refused(hub, provider, LIMIT)
    assert [fact.what for fact in bus.facts[2:]] == ["forgiven", "rate limited"]


def test_close_leaves_a_store_of_the_application_open(bus):
    store = bus.store()
    hub, provider = Hub(Settings(autoload=False), shared=store), Scripted()
    hub.register(INFO, provider, config=ProviderConfig(api_key="sk-1"))
    hub.close()
    assert not store.closed
    hub._health.pause(("acme", "m"), "rate limited", 0.0, 1.0)
    assert bus.facts == []


def test_a_hub_that_travels_takes_the_address_along():
    settings = Settings(shared=Shared("redis://:secret@127.0.0.1/0", namespace="shop"), autoload=False)
    again = pickle.loads(pickle.dumps(settings))
    assert again.shared == settings.shared
    assert "secret" not in repr(settings)


def test_a_store_that_no_distribution_offers():
    with pytest.raises(ConfigurationError, match=r"'memcached'.*pip install providerhub-redis"):
        Hub(Settings(autoload=False), shared="memcached://127.0.0.1")


@pytest.mark.parametrize("url", ["127.0.0.1:6379", ""])
def test_an_address_without_a_scheme(url):
    with pytest.raises(ConfigurationError, match="redis://"):
        Hub(Settings(autoload=False), shared=url)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("acme_store:broken", "acme-store cannot be used: RuntimeError: no"),
        ("acme_store:picky", "not this address"),
        ("acme_missing:store", "ModuleNotFoundError"),
    ],
)
def test_a_store_that_cannot_be_made(site, value, said):
    site.distribution("acme-store", f"[providerhub.shared]\nacme = {value}\n")
    site.write("acme_store.py", BAD_STORES)
    assert said in site.run(OPEN)


def test_two_stores_for_one_scheme(site):
    for name in ("acme-store", "other-store"):
        site.distribution(name, "[providerhub.shared]\nacme = acme_store:picky\n")
    assert "acme-store, other-store; uninstall all but one" in site.run(OPEN)


BAD_STORES = """
from providerhub import ConfigurationError

def broken(shared):
    raise RuntimeError("no")

def picky(shared):
    raise ConfigurationError("not this address")
"""
OPEN = """
from providerhub import ConfigurationError, Hub, Settings
try:
    Hub(Settings(autoload=False), shared="acme://x")
except ConfigurationError as error:
    print(error)
"""


def test_a_denied_capability_and_a_pardon_reach_the_others(worker):
    (first, asked), (second, _) = worker(), worker()
    refused(first, asked, CapabilityError("no images", status=400, capability="images"))
    refused(first, asked, NO_KEY)
    assert sorted((one.pause, one.lacking) for one in second.health()) == [("", ("images",)), ("key rejected", ())]
    first.forgive("acme")
    assert [one for one in second.health() if one.pause or one.lacking] == []


def test_a_shorter_pause_of_another_process_changes_nothing(worker, bus):
    (first, asked), (second, _) = worker(), worker()
    refused(first, asked, LIMIT)
    before = max(one.retry_in for one in second.health())
    scope = bus.facts[0].scope
    bus.stores[1].told(Fact(scope, "m", "rate limited", 5.0))
    second._pacer.hold(("acme", "m"), 0.0, 1.0)
    assert max(one.retry_in for one in second.health()) == before


def test_pending_facts_are_looked_at_once_a_second(worker, bus):
    hub, _ = worker()
    bus.stores[0].told(Fact("elsewhere:00", "m", "rate limited", 60.0))
    for _ in range(3):
        assert hub.complete("acme/m", "?").text == "fine"


def test_close_closes_a_store_that_the_hub_has_made(bus, monkeypatch):
    store = bus.store()
    monkeypatch.setattr("providerhub._finding.stores.open_store", lambda shared: store)
    with Hub(Settings(autoload=False), shared="acme://x"):
        assert not store.closed
    assert store.closed


class Counting(Store):
    """A store that counts the calls at once of all stores of a bus; it answers at once, later or never."""

    calls: ClassVar[dict[str, set[str]]] = {}
    mode, has_stock = "now", False

    def claim(self, claim, answer):
        self.asked = [*getattr(self, "asked", []), answer]
        if self.mode == "down":
            return False
        if self.mode == "fails":
            answer("shared limits unknown", 0.0)
        elif self.mode == "now":
            full = any(len(self.calls.setdefault(name, set())) >= most for name, most, _, _ in claim.lanes)
            if not full:
                for name, *_ in claim.lanes:
                    self.calls[name].add(claim.id)
            if self.has_stock and not full:
                return None
            answer("concurrency" if full else "", 0.2 if full else 0.0)
        return True

    def give_back(self, claim, used):
        for name, *_ in claim.lanes:
            self.calls.get(name, set()).discard(claim.id)


@pytest.fixture
def counted(bus, clock):
    """Make a hub with one limited provider and a spare one."""
    Counting.calls.clear()

    def make(mode="now", on_outage="local", **limits):
        store = Counting(bus)
        store.mode, store.on_outage = mode, on_outage
        hub = Hub(Settings(autoload=False), shared=store, clock=clock, rng=lambda: 0.5)
        config = ProviderConfig(url="https://api.acme.example", api_key="sk-1", priority=1, **(limits or {"concurrency": 1}))
        hub.register(INFO, Scripted(), config=config)
        hub.register(ProviderInfo(name="spare", models=(ModelInfo("m"),)), Scripted())
        return hub, store

    return make


@pytest.mark.parametrize("has_stock", [False, True])
def test_a_turn_is_counted_and_given_back(counted, has_stock):
    hub, store = counted()
    store.has_stock = has_stock
    assert [hub.complete("m", "?").provider for _ in range(3)] == ["acme"] * 3
    assert set(map(len, Counting.calls.values())) == {0}


def test_a_call_goes_elsewhere_where_all_have_used_the_limit_up(counted):
    (first, _), (second, _) = counted(), counted()
    stream = first.complete("m", "?", stream=True)
    assert second.complete("m", "?").provider == "spare"
    assert [skip.reason for skip in second.explain("m").waits] == ["concurrency"]
    stream.close()
    assert first.complete("m", "?").provider == "acme"


def test_a_call_waits_where_there_is_no_other_place(counted, clock):
    (first, _), (second, _) = counted(), counted()
    stream = first.complete("m", "?", stream=True)
    with pytest.raises(ProviderHubError, match="concurrency"):
        second.complete("acme/m", "?", timeout=2.0)
    stream.close()
    clock.advance(1.0)
    assert second.complete("acme/m", "?", timeout=2.0).text == "fine"


def test_the_instance_counts_beside_the_model(counted):
    hub, _ = counted(concurrency=2, model={"m": ModelInfo("m", concurrency=1)})
    hub.complete("m", "?")
    assert sorted(name.rpartition(":")[2] for name in Counting.calls) == ["", "m"]


@pytest.mark.parametrize("mode", ["down", "silent", "fails"])
def test_a_store_that_does_not_answer_costs_no_call(counted, mode):
    hub, _ = counted(mode)
    assert hub.complete("m", "?").provider == "acme"


@pytest.mark.parametrize("mode", ["down", "silent", "fails"])
def test_a_store_that_does_not_answer_refuses_if_wanted(counted, mode):
    hub, _ = counted(mode, "refuse")
    answer = hub.complete("m", "?")
    assert answer.provider == "spare"
    assert [skip.reason for skip in hub.explain("m").waits] == ["shared limits unknown"]


def test_a_call_without_limits_needs_no_store(bus, clock):
    """Its key is not read yet, and the model is paused: the call takes a turn, which no other process has to know of."""
    store = Counting(bus)
    store.on_outage = "refuse"
    hub = Hub(Settings(autoload=False), shared=store, clock=clock)
    config = ProviderConfig(url="https://a.example", api_key=Secret.later(Source()))
    hub.register(INFO, Scripted(), config=config)
    hub._pacer.hold(("acme", "m"), clock.monotonic(), clock.monotonic() + 0.5)
    assert hub.complete("acme/m", "?").text == "fine"


def test_a_late_turn_is_counted_with_the_call_that_has_gone_on(counted):
    hub, store = counted("silent")
    given = []
    store.give_back = lambda claim, used: given.append(claim)
    stream = hub.complete("m", "?", stream=True)
    store.asked[0]("", 0.0)
    assert given == []
    stream.close()
    assert len(given) == 1
    store.asked[0]("", 0.0)  # after the end of the call
    assert len(given) == 2
    store.asked[0]("rpm", 1.0)


def test_a_key_that_is_not_read_yet_counts_nowhere(bus, clock):
    hub = Hub(Settings(autoload=False), shared=Counting(bus), clock=clock)
    secret = Secret.later(Source())
    hub.register(INFO, Scripted(), config=ProviderConfig(url="https://a.example", api_key=secret, concurrency=1))
    Counting.calls.clear()
    assert hub.complete("acme/m", "?").text == "fine"
    assert Counting.calls == {}
