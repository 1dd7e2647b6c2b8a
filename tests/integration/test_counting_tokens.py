"""Counts of tokens: routing, fallback and errors of `count_tokens` and `acount_tokens`, with fake providers and over sockets."""

import asyncio

import pytest

import providerhub
from providerhub import (
    CapabilityError,
    Completion,
    ConfigurationError,
    Hub,
    InvalidRequestError,
    ModelInfo,
    PluginError,
    ProtocolError,
    ProviderConfig,
    ProviderInfo,
    RetryPolicy,
    ServerError,
    Settings,
    hookimpl,
)
from providerhub.testing import FakeAsyncProvider, FakeProvider, FaultServer, http_response
from providerhub.wire_provider import HttpRequest, WireProvider

NO_WAIT = Settings(autoload=False, retry=RetryPolicy(attempts_per_provider=1))
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def _sync(hub, *args, **knobs):
    return hub.count_tokens(*args, **knobs)


def _async(hub, *args, **knobs):
    return asyncio.run(hub.acount_tokens(*args, **knobs))


BOTH = pytest.mark.parametrize("count", [_sync, _async])
FAKES = pytest.mark.parametrize("kind", [FakeProvider, FakeAsyncProvider])


@BOTH
@FAKES
def test_the_provider_gets_the_request_and_the_caller_the_number(count, kind):
    fake = kind()
    found = count(fake.hub(), "m", "one two", system="be brief", tools=[TOOL], reasoning="low")
    assert (found.input_tokens, found.model, found.provider) == (4, "m", "fake")
    assert [attempt.outcome for attempt in found.route.attempts] == ["ok"]
    assert (fake.requests[0].tools, fake.requests[0].reasoning, fake.requests[0].stream) == ([TOOL], "low", False)


class Chats:
    """A provider that cannot count."""

    def stream(self, request, call):
        yield "Hello"


@BOTH
def test_a_failure_or_a_provider_that_cannot_count_leads_to_the_next_candidate(count):
    fake = FakeProvider(name="z", models=("m",))
    down = FakeProvider(ServerError("down"), name="y", models=("m",))
    chats = ProviderInfo(name="x", models=("m",))
    with Hub(NO_WAIT, providers=[(chats, Chats()), (down.info, down), (fake.info, fake)]) as hub:
        found = count(hub, ["x/m", "y/m", "z/m"], "one two three")
    assert (found.provider, found.input_tokens) == ("z", 3)
    assert [type(attempt.error) for attempt in found.route.attempts[:2]] == [CapabilityError, ServerError]


@BOTH
def test_without_a_provider_that_can_count_the_error_says_so(count):
    with (
        Hub(NO_WAIT, providers=[(ProviderInfo(name="x", models=("m",)), Chats())]) as hub,
        pytest.raises(CapabilityError, match=r"cannot count tokens.*another provider"),
    ):
        count(hub, "m", "Hello")


@BOTH
@pytest.mark.parametrize("answer", ["7", 1.5, None, True, -1])
def test_a_wrong_number_is_the_plugins_fault(count, answer):
    class Wrong(Chats):
        def count_tokens(self, request, call):
            return answer

    with (
        Hub(NO_WAIT, providers=[(ProviderInfo(name="x", models=("m",)), Wrong())]) as hub,
        pytest.raises(PluginError, match="must return a whole number"),
    ):
        count(hub, "m", "Hello")


@BOTH
def test_a_prompt_that_is_too_long_is_counted_and_costs_nothing(count):
    seen = []

    class Observer:
        @hookimpl
        def providerhub_call_finished(self, call):
            seen.append(call.cost)

    fake = FakeProvider(models=[ModelInfo("m", context_window=100, price_in=1.0, price_out=1.0)])
    with Hub(NO_WAIT, observers=[Observer()]) as hub:
        hub.register(fake.info, fake, config=ProviderConfig(tpm=10))
        assert count(hub, "m", "word " * 1000).input_tokens == 1000
    assert [cost.amount for cost in seen] == [0]


@BOTH
@pytest.mark.parametrize(
    ("knobs", "error"),
    [({"temperature": "hot"}, InvalidRequestError), ({"unheard": 1}, TypeError), ({"stream": True}, TypeError)],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(count, knobs, error):
    fake = FakeProvider()
    with pytest.raises(error):
        count(fake.hub(), "m", "x", **knobs)
    assert fake.calls == []


@BOTH
def test_callables_around_the_call_pass_it_on_or_are_named(count):
    seen = []

    def watch(request, go_on):
        seen.append((request.messages[-1]["content"], go_on.cache))
        return go_on(request)

    fake = FakeProvider()
    with Hub(NO_WAIT, providers=[(fake.info, fake)], around=[watch]) as hub:
        assert count(hub, "m", "a b", response_format={"type": "json_object"}).input_tokens == 2
    assert seen == [("a b", False)]
    with (
        Hub(NO_WAIT, providers=[(fake.info, fake)], around=[lambda request, go_on: Completion("no")]) as hub,
        pytest.raises(ConfigurationError, match="without a count"),
    ):
        count(hub, "m", "x")


def test_the_functions_of_the_module_use_the_default_hub_and_a_closed_hub_refuses(monkeypatch):
    fake = FakeProvider()
    hub = fake.hub()
    monkeypatch.setattr("providerhub._default._default", hub)
    assert providerhub.count_tokens("m", "x").input_tokens == 1
    assert asyncio.run(providerhub.acount_tokens("m", "x")).input_tokens == 1
    hub.close()
    with pytest.raises(RuntimeError, match="closed"):
        hub.count_tokens("m", "x")


class Acme(WireProvider):
    """Counts over HTTP."""

    def counting(self, request, call):
        answer = yield HttpRequest("/count", {"text": request.messages[-1]["content"], **request.options})
        return answer.number("total")


@BOTH
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http_response(body={"total": 12}), None),
        (http_response(503, body={"error": {"message": "canary is overloaded"}}), ServerError),
        *(
            (http_response(body=body), ProtocolError)
            for body in ({}, [], {"total": "many"}, {"total": True}, {"total": -1}, b"<")
        ),
    ],
)
def test_a_service_counts_over_a_socket(count, answer, error):
    with FaultServer(answer) as server:
        made = Acme(ProviderConfig(name="acme", url=server.url, api_key="canary"))
        with Hub(NO_WAIT, providers=[(ProviderInfo(name="acme", models=("m",)), made)]) as hub:
            options = {"acme": {"a": 1, "extra_headers": {"X-A": "b"}, "extra_body": {"c": 2}}}
            if error is None:
                assert count(hub, "m", "Hi", options=options).input_tokens == 12
            else:
                with pytest.raises(error) as raised:
                    count(hub, "m", "Hi", options=options)
                assert "canary" not in str(raised.value)
    asked = server.requests[0]
    assert (asked.target, asked.header("x-a"), asked.json()) == ("/count", "b", {"text": "Hi", "a": 1, "c": 2})


@BOTH
def test_a_service_that_does_not_count_is_asked_nothing(count):
    made = WireProvider(ProviderConfig(name="acme", url="http://127.0.0.1:9"))
    with (
        Hub(NO_WAIT, providers=[(ProviderInfo(name="acme", models=("m",)), made)]) as hub,
        pytest.raises(CapabilityError, match="does not count tokens"),
    ):
        count(hub, "m", "Hi")
