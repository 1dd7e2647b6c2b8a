"""Embeddings: routing, fallback and batches of `embed` and `aembed`, with fake providers and over sockets."""

import asyncio
import json

import attrs
import pytest

import providerhub
from providerhub import (
    CapabilityError,
    Completion,
    ConfigurationError,
    EmbeddingRequest,
    Embeddings,
    Hub,
    InvalidRequestError,
    ModelInfo,
    NoCapableProviderError,
    PluginError,
    ProtocolError,
    ProviderConfig,
    ProviderInfo,
    Request,
    RetryPolicy,
    ServerError,
    Settings,
    Usage,
    hookimpl,
)
from providerhub.openai_provider import OpenAIChatProvider
from providerhub.testing import FakeAsyncProvider, FakeProvider, FaultServer, http_response

NO_WAIT = Settings(autoload=False, retry=RetryPolicy(attempts=1, attempts_per_provider=1))


def _sync(hub, *args, **knobs):
    return hub.embed(*args, **knobs)


def _async(hub, *args, **knobs):
    return asyncio.run(hub.aembed(*args, **knobs))


BOTH = pytest.mark.parametrize("embed", [_sync, _async])
FAKES = pytest.mark.parametrize("kind", [FakeProvider, FakeAsyncProvider])


@BOTH
@FAKES
def test_each_text_has_a_vector_in_its_place(embed, kind):
    fake = kind()
    hub = fake.hub()
    found = embed(hub, "m", ["one", "two words"])
    assert (len(found.vectors), found.model, found.provider, found.usage) == (2, "m", "fake", Usage(3, 0))
    assert found.vectors[1] == embed(hub, "m", "two words").vectors[0] != found.vectors[0]
    assert [len(vector) for vector in embed(hub, "m", ["a"], dimensions=7).vectors] == [7]
    assert [attempt.outcome for attempt in found.route.attempts] == ["ok"]
    assert type(fake.requests[0]) is EmbeddingRequest


class Priced:
    """Embeds each text for three tokens, and for what its service says that this costs."""

    embedding_limit = 2

    def __init__(self, cost=None):
        self.cost = cost

    def embed(self, request, call):
        return Embeddings([[1.0] for _ in request.texts], Usage(input_tokens=3 * len(request.texts), cost=self.cost))

    def stream(self, request, call):
        yield ""


@BOTH
@pytest.mark.parametrize(
    ("prices", "told", "amount"),
    [({"price_in": 2.0}, None, "0.000018"), ({"price_in": 2.0}, 0.25, "0.5"), ({}, None, None)],
)
def test_vectors_have_a_cost_and_so_has_the_record_of_the_call(embed, prices, told, amount):
    seen = []

    class Observer:
        @hookimpl
        def providerhub_call_finished(self, call):
            seen.append(call)

    info = ProviderInfo(name="p", models=(ModelInfo("m", supports_embeddings=True, **prices),))
    with Hub(NO_WAIT, providers=[(info, Priced(told))], observers=[Observer()]) as hub:
        found = embed(hub, "m", ["one", "two", "three"])
    assert found.cost == found.route.cost == seen[0].cost
    assert found.cost is None if amount is None else str(found.cost.amount) == amount


@BOTH
@FAKES
def test_a_fallback_embeds_all_texts_again_and_mixes_no_models(embed, kind):
    first, second = kind("", ServerError("down"), name="a"), kind(name="b")
    first.embedding_limit = second.embedding_limit = 2
    hub = first.hub(second, settings=Settings(autoload=False, retry=RetryPolicy(attempts_per_provider=1)))
    found = embed(hub, "m", ["1", "2", "3", "4", "5"])
    assert found.provider == "b"
    assert [request.texts for request in first.requests] == [("1", "2"), ("3", "4")]
    assert [request.texts for request in second.requests] == [("1", "2"), ("3", "4"), ("5",)]
    assert (len(found.vectors), found.usage.input_tokens) == (5, 5)


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        ({}, [5]),
        ({"embedding_limit": 1}, [1] * 5),
        ({"embedding_characters": 5}, [2, 1, 1, 1]),
        ({"embedding_limit": 3, "embedding_characters": 100}, [3, 2]),
    ],
)
def test_texts_are_divided_by_the_limits_of_the_provider(limits, sizes):
    fake = FakeProvider()
    vars(fake).update(limits)
    found = fake.hub().embed("m", ["ab", "cde", "f" * 9, "ghij", "kl"])
    assert [len(request.texts) for request in fake.requests] == sizes
    assert len(found.vectors) == 5


FLAGS = (("a", False), ("b", None), ("c", True))


def test_a_model_without_embeddings_is_left_out_and_a_declared_one_is_first():
    fakes = [FakeProvider(name=name, models=[ModelInfo("m", supports_embeddings=flag)]) for name, flag in FLAGS]
    hub = Hub(NO_WAIT, providers=[(fake.info, fake) for fake in fakes])
    found = hub.embed("m", "x")
    assert found.provider == "c"
    assert [(skip.provider, skip.reason) for skip in found.route.skipped] == [("a", "no embeddings")]
    with pytest.raises(NoCapableProviderError, match="no embeddings"):
        fakes[0].hub().embed("m", "x")


class Chats:
    """A provider without embeddings."""

    def stream(self, request, call):
        yield "Hello"


@BOTH
def test_a_provider_that_only_chats_is_passed_over(embed, scripted):
    hub = Hub(NO_WAIT)
    hub.register(ProviderInfo(name="a", models=("m",)), Chats())
    with pytest.raises(CapabilityError, match=r"no method embed\(request, call\)"):
        embed(hub, "m", "x")
    fake = FakeProvider(name="z", models=("m",))
    hub.register(fake.info, fake)
    assert embed(hub, "m", "x").provider == "z"


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ([[1.0]], PluginError, "must return Embeddings"),
        (Embeddings([]), ProtocolError, "0 vectors for 1 texts"),
        (Embeddings(["no"]), ProtocolError, "not lists of finite numbers"),
        (Embeddings([[]]), ProtocolError, "not lists of finite numbers"),
        *(
            (Embeddings([[0.1, odd]]), ProtocolError, "not lists of finite numbers")
            for odd in (None, "1", True, [1.0], float("nan"), float("-inf"), 10**400)
        ),
    ],
)
def test_a_wrong_answer_is_an_error(answer, error, said):
    class Wrong(Chats):
        def embed(self, request, call):
            return answer

    hub = Hub(NO_WAIT)
    hub.register(ProviderInfo(name="a", models=("m",)), Wrong())
    with pytest.raises(error, match=said):
        hub.embed("m", "x")


@pytest.mark.parametrize(
    ("texts", "knobs", "error"),
    [
        ([], {}, InvalidRequestError), ("", {}, InvalidRequestError), (["a", ""], {}, InvalidRequestError),
        ([1], {}, InvalidRequestError), ({"a": 1}, {}, InvalidRequestError), ("a", {"dimensions": 0}, InvalidRequestError),
        ("a", {"temperature": 1}, TypeError), ("a", {"timeout": -1}, InvalidRequestError),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_before_anything_is_sent(texts, knobs, error):
    fake = FakeProvider()
    with pytest.raises(error):
        fake.hub().embed("m", texts, **knobs)
    assert fake.calls == []


def test_a_long_text_is_measured_alone_and_not_with_the_others():
    small = FakeProvider(models=[ModelInfo("m", context_window=100)])
    assert len(small.hub().embed("m", ["word " * 50] * 100).vectors) == 100
    with pytest.raises(NoCapableProviderError, match="context window"):
        small.hub().embed("m", ["x", "word " * 500])


def test_observers_see_the_call_and_a_closed_hub_refuses_it():
    seen = []

    class Watch:
        @hookimpl
        def providerhub_call_finished(self, route):
            seen.append(route)

    fake = FakeProvider()
    with Hub(Settings(autoload=False), observers=[Watch()]) as hub:
        hub.register(fake.info, fake)
        hub.embed("m", "x")
    assert len(seen) == 1
    with pytest.raises(RuntimeError, match="closed"):
        hub.embed("m", "x")


def _answer(*vectors, order=None):
    entries = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    entries = [entries[place] for place in order] if order else entries
    return http_response(body={"object": "list", "data": entries, "usage": {"prompt_tokens": 4, "total_tokens": 4}})


def _openai(server, **config):
    hub = Hub(NO_WAIT)
    made = OpenAIChatProvider(ProviderConfig(name="acme", url=server.url, api_key="canary", **config))
    hub.register(ProviderInfo(name="acme", models=("e-1",)), made)
    return hub, made


@BOTH
def test_the_openai_shape_over_a_socket(embed):
    with FaultServer(_answer([1.0, 0.5], [0, -1], order=[1, 0]), _answer([3, 4])) as server:
        hub, made = _openai(server)
        made.embedding_limit = 2
        more = {"acme": {"user": "u", "extra_headers": {"X-A": "1"}, "extra_body": {"b": 2}}}
        found = embed(hub, "e-1", ["a", "b", "c"], dimensions=2, options=more)
        made.close()
    assert found.vectors == [[1.0, 0.5], [0, -1], [3, 4]]
    assert found.usage.input_tokens == 8
    first = server.requests[0]
    assert (first.target, first.header("authorization"), first.header("x-a")) == ("/v1/embeddings", "Bearer canary", "1")
    assert json.loads(first.body) == {"model": "e-1", "input": ["a", "b"], "dimensions": 2, "user": "u", "b": 2}


@BOTH
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http_response(503, body={"error": {"message": "canary is overloaded"}}), ServerError),
        (http_response(body={"error": {"message": "canary has failed", "code": 500}}), providerhub.ProviderError),
        (http_response(body={"data": "no"}), ProtocolError),
        (http_response(body={"data": [{"embedding": "AAAA"}]}), ProtocolError),
        (http_response(body=b"<html>"), ProtocolError),
        (_answer([1.0], [2.0, 3.0]), ProtocolError),
        *(
            (http_response(body={"data": [{"index": place, "embedding": [1.0]} for place in places]}), ProtocolError)
            for places in ([0, 0], [1, 2], [0, None], [0, True])
        ),
    ],
)
def test_a_failure_of_the_service_is_classed_and_holds_no_key(embed, answer, error):
    with FaultServer(answer) as server:
        hub, made = _openai(server)
        with pytest.raises(error) as raised:
            embed(hub, "e-1", ["a", "b"])
        made.close()
    assert "canary" not in str(raised.value)


def test_the_functions_of_the_module_use_the_default_hub(monkeypatch):
    fake = FakeProvider()
    monkeypatch.setattr("providerhub._default._default", fake.hub())
    assert providerhub.embed("m", "x").vectors == asyncio.run(providerhub.aembed("m", ["x"])).vectors


@BOTH
@pytest.mark.parametrize("place", ["messages", "texts"])
def test_callables_around_calls_see_and_change_the_texts(embed, place):
    def redacted(request, go_on):
        asked.append((type(request), request.texts, go_on.asked, go_on.awaited))
        changed = [text.replace("4711", "N") for text in request.texts]
        changed = [{"role": "user", "content": text} for text in changed] if place == "messages" else changed
        return go_on(attrs.evolve(request, **{place: changed}))

    asked, fake = [], FakeProvider()
    with Hub(NO_WAIT, providers=[(fake.info, fake)], around=[redacted]) as hub:
        found = embed(hub, "m", ["a 4711", "b"], dimensions=3)
    assert [len(vector) for vector in found.vectors] == [3, 3]
    assert asked == [(EmbeddingRequest, ("a 4711", "b"), "m", embed is _async)]
    assert [(request.texts, request.messages[0]["content"]) for request in fake.requests] == [(("a N", "b"), "a N")]


@BOTH
@pytest.mark.parametrize(
    ("around", "error", "said"),
    [
        (lambda request, go_on: Completion("no"), ConfigurationError, "answered a call for embeddings without vectors"),
        (
            lambda request, go_on: go_on(attrs.evolve(request, texts=["a"])),
            InvalidRequestError,
            r"got 1 texts, but the call has 2",
        ),
        (lambda request, go_on: go_on(Request("m", request.messages)), InvalidRequestError, "not Request"),
        (lambda request, go_on: go_on(attrs.evolve(request, texts=["a", ""])), InvalidRequestError, "texts must be"),
    ],
)
def test_a_callable_that_breaks_a_call_for_embeddings_is_named(embed, around, error, said):
    fake = FakeProvider()
    with Hub(NO_WAIT, providers=[(fake.info, fake)], around=[around]) as hub, pytest.raises(error, match=said):
        embed(hub, "m", ["a", "b"])
    assert fake.requests == []
