"""The view of operators: the health of a hub's providers, and `forgive`."""

import asyncio
import logging
import pickle

import pytest

from providerhub import (
    AuthenticationError,
    ConfigurationError,
    HealthRecord,
    Hub,
    ModelInfo,
    ProviderConfig,
    ProviderHubError,
    ProviderInfo,
    QuotaExceededError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    Settings,
)
from providerhub.testing import FakeClock

ONCE = RetryPolicy(attempts=1, attempts_per_provider=1)
INFO = ProviderInfo(name="a", models=(ModelInfo("m"),))


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def hub_of(clock):
    hubs = []

    def make(provider, config=None):
        hub = Hub(Settings(autoload=False, retry=ONCE), clock=clock, rng=lambda: 0.5)
        hub.register(INFO, provider, config=config)
        hubs.append(hub)
        return hub

    yield make
    for hub in hubs:
        hub.close()


def fail(hub, times=1):
    for _ in range(times):
        with pytest.raises(ProviderHubError):
            hub.complete("m", "x")


def record(hub, model="m"):
    (found,) = [one for one in hub.health() if (one.provider, one.model) == ("a", model)]
    return found


def test_a_hub_that_made_no_calls_knows_nothing(scripted, hub_of):
    assert hub_of(scripted()).health() == ()


def test_an_answer_leaves_its_time(clock, hub_of):
    class Slow:
        def stream(self, request, call):
            clock.advance(2.0)
            yield "hello"

    hub = hub_of(Slow())
    with hub.complete("m", "x", stream=True) as stream:
        list(stream)
    clock.advance(1.0)
    hub.complete("m", "x")
    assert hub.health() == (HealthRecord(provider="a", model="m", first_token=2.0, whole=2.0, budget=10.0),)


def test_a_breaker_that_opens_shows_when_it_is_tried_again(scripted, clock, hub_of):
    hub = hub_of(scripted(ServerError("down")))
    fail(hub, 5)
    found = record(hub)
    assert (found.state, found.pause) == ("open", "")
    assert found.retry_in == pytest.approx(3.75)  # 5 s, of which half is random
    clock.advance(3.0)
    assert record(hub).retry_in == pytest.approx(0.75)
    clock.advance(1.0)
    assert (record(hub).state, record(hub).retry_in) == ("half-open", 0.0)


@pytest.mark.parametrize(
    ("error", "model", "reason", "seconds"),
    [
        (AuthenticationError("no", status=401), "", "key rejected", 10.0),
        (QuotaExceededError("empty", status=402), "", "quota used up", 600.0),
        (RateLimitError("slow down", retry_after=40), "m", "rate limited", 42.0),  # with half of 10% jitter
    ],
)
def test_a_pause_shows_its_reason_and_its_end(scripted, clock, hub_of, error, model, reason, seconds):
    hub = hub_of(scripted(error))
    with pytest.raises(type(error)):
        hub.complete("m", "x", timeout=20)
    found = record(hub, model)
    assert (found.state, found.pause) == ("closed", reason)
    assert found.retry_in == pytest.approx(seconds)
    clock.advance(seconds)
    assert (record(hub, model).pause, record(hub, model).retry_in) == ("", 0.0)


@pytest.mark.parametrize("kinds", [(AuthenticationError,), (QuotaExceededError,), (AuthenticationError, QuotaExceededError)])
def test_refused_keys_and_quotas_are_raised_again_when_nothing_else_is_left(scripted, make_hub, kinds):
    providers = {name: scripted(kind("no"), "answer") for name, kind in zip("ab", kinds, strict=False)}
    hub = make_hub(**providers)
    with pytest.raises(ProviderHubError):
        hub.complete("m", "x")
    with pytest.raises(kinds[0]) as raised:
        hub.complete("m", "x")
    assert raised.value.provider == "a"
    assert len(raised.value.route.skipped) == len(kinds)
    assert [len(provider.requests) for provider in providers.values()] == [1] * len(kinds)


def test_limits_and_the_calls_that_hold_a_turn_are_shown(scripted, hub_of):
    hub = hub_of(scripted(), ProviderConfig(concurrency=2, rpm=60, model={"m": ModelInfo("m", tpm=5000)}))
    with hub.complete("m", "x", stream=True) as stream:
        next(stream)
        whole, model = record(hub, ""), record(hub)
        assert (whole.concurrency, whole.rpm, whole.tpm, whole.in_use, whole.waiting) == (2, 60, None, 1, 0)
        assert (model.concurrency, model.rpm, model.tpm, model.in_use) == (None, None, 5000, 1)
    assert record(hub, "").in_use == 0


def test_a_record_is_a_frozen_value(scripted, hub_of):
    hub = hub_of(scripted())
    hub.complete("m", "x")
    (found,) = hub.health()
    assert pickle.loads(pickle.dumps(found)) == found
    with pytest.raises(AttributeError):
        found.state = "open"


def test_settings_that_a_plugin_finds_wrong_open_no_breaker(scripted, hub_of):
    hub = hub_of(scripted(ConfigurationError("region is missing")))
    for _ in range(9):
        with pytest.raises(ConfigurationError, match="region is missing"):
            hub.complete("m", "x")
    assert hub.health() == ()


@pytest.mark.parametrize(
    ("error", "failures"),
    [
        (AuthenticationError("no", status=401), 1),
        (QuotaExceededError("empty", status=402), 1),
        (RateLimitError("slow down", retry_after=400), 1),
        (ServerError("down"), 5),
    ],
)
def test_a_forgiven_provider_is_asked_at_once(scripted, hub_of, error, failures):
    hub = hub_of(scripted(*[error] * failures, ["hello"]))
    for _ in range(failures):
        with pytest.raises(type(error)):
            hub.complete("m", "x", timeout=20)
    assert any(found.retry_in for found in hub.health())
    hub.forgive("a")
    assert {(found.state, found.pause, found.retry_in, found.learned_rpm) for found in hub.health()} == {
        ("closed", "", 0.0, None)
    }
    assert hub.complete("m", "x").text == "hello"


def test_a_name_without_provider_is_not_forgiven(scripted, hub_of):
    with pytest.raises(ConfigurationError, match=r"cannot forgive 'b': there is no provider of this name; the providers are: a$"):
        hub_of(scripted()).forgive("b")


# --- log lines --------------------------------------------------------------------------------------------------------


def lines(caplog):
    return [(entry.levelname, entry.getMessage()) for entry in caplog.records if entry.name == "providerhub"]


def test_a_breaker_that_opens_and_closes_leaves_a_line_each(scripted, clock, hub_of, caplog):
    provider = scripted(ServerError("down"))
    hub = hub_of(provider)
    fail(hub, 5)
    assert lines(caplog) == [("WARNING", "a/m keeps failing: calls skip it for 4 s (breaker open)")]
    clock.advance(10.0)
    provider.scripts[:] = [["hello"]]
    hub.complete("m", "x")
    assert lines(caplog)[1:] == [("WARNING", "a/m answers again (breaker closed)")]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_of_a_fallback_leaves_a_line(scripted, make_hub, caplog, stream):
    hub = make_hub(Settings(autoload=False, strategy="priority"), a=scripted(ServerError("down")), b=scripted())
    caplog.set_level(logging.INFO, "providerhub")
    answer = hub.complete("m", "x", stream=stream)
    if stream:
        assert lines(caplog) == []
        list(answer)
    assert lines(caplog) == [("INFO", "b/m answered in attempt 2 (a/m: ServerError)")]


def test_an_answer_of_the_first_attempt_and_a_failed_call_leave_no_such_line(scripted, make_hub, caplog):
    caplog.set_level(logging.INFO, "providerhub")
    make_hub(a=scripted()).complete("m", "x")
    fail(make_hub(a=scripted(ServerError("down")), b=scripted(ServerError("down"))))
    assert lines(caplog) == []


def test_the_asynchronous_call_leaves_the_same_line(scripted, make_hub, caplog):
    hub = make_hub(Settings(autoload=False, strategy="priority"), a=scripted(ServerError("down")), b=scripted())
    caplog.set_level(logging.INFO, "providerhub")
    asyncio.run(hub.acomplete("m", "x"))
    assert lines(caplog) == [("INFO", "b/m answered in attempt 2 (a/m: ServerError)")]


@pytest.mark.parametrize("named", [86_400.0, 1_795_951_130.0], ids=["a day", "a time of day in place of seconds"])
def test_a_long_pause_that_a_service_names_ends_with_pause_max(scripted, hub_of, clock, named):
    hub = hub_of(scripted(RateLimitError("slow down", retry_after=named), "hello"))
    fail(hub)
    clock.advance(700.0)  # 600 s, and a random part of it
    assert hub.complete("m", "x").text == "hello"
