"""A provider that only translates: the work of the toolkit, with both transports, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import gzip
import json
import re
import threading
import traceback

import pytest

from providerhub import (
    AuthenticationError,
    CallContext,
    CapabilityError,
    ConfigurationError,
    EmbeddingRequest,
    EmptyAnswerError,
    Finish,
    Hub,
    InvalidRequestError,
    ModelInfo,
    PluginError,
    ProtocolError,
    ProviderConfig,
    ProviderConnectionError,
    ProviderHubError,
    ProviderInfo,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    Refusal,
    Request,
    RetryPolicy,
    Secret,
    ServerError,
    Settings,
    Timeout,
    Usage,
    UsageDelta,
)
from providerhub._rules.policy import disposition
from providerhub.http import _blocks
from providerhub.openai_provider import ChatReading, OpenAIChatProvider
from providerhub.testing import Close, Drip, FaultServer, Gate, Hold, Send, chunked, http_response, response_head, sse
from providerhub.wire import LineDecoder
from providerhub.wire_provider import Blocking, HttpRequest, JsonReading, Reading, WireProvider, listed

CANARY = "canary-key-0123456789"
TOKEN = "fetched-token-0123456789"
HELLO = Request("m", [{"role": "user", "content": "Hello"}], stream=True)
FINE = chunked(sse({"text": "fi"}, {"text": "ne", "end": "stop"}, done=False))
WHOLE = http_response(body={"text": "fine", "end": "stop"})


class AcmeReading(JsonReading):
    def event(self, data, name):
        yield data["text"]
        if "end" in data:
            self.done = True
            yield Finish(data["end"])


class Acme(WireProvider):
    def build(self, request, call):
        return HttpRequest("/talk", {"say": request.messages[-1]["content"], **request.options}, stream=request.stream)

    def reading(self, request, call, headers):
        return AcmeReading(call, headers)


def sync(provider, request=HELLO, call=None):
    try:
        return list(provider.stream(request, call or CallContext(Timeout(total=30))))
    finally:
        provider.close()


def native(provider, request=HELLO, call=None):
    async def run():
        try:
            return [piece async for piece in provider.astream(request, call or CallContext(Timeout(total=30)))]
        finally:
            await provider.aclose()

    return asyncio.run(run())


@pytest.fixture(params=[sync, native], ids=["sync", "async"])
def ask(request):
    return request.param


def at(server, kind=Acme, **config):
    return kind(ProviderConfig(name="acme", url=getattr(server, "url", server), **{"api_key": CANARY, **config}))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", [FINE, WHOLE], ids=["stream", "whole"])
def test_an_answer_in_either_form(ask, stream, script):
    with FaultServer(script) as server:
        found = ask(at(server), Request("m", HELLO.messages, stream=stream))
    assert "".join(piece for piece in found if isinstance(piece, str)) == "fine"
    assert found[-1] == Finish("stop")
    assert server.requests[0].json() == {"say": "Hello"}
    assert server.requests[0].header("authorization") == f"Bearer {CANARY}"


# --- the parts of a wire ------------------------------------------------------------------------------------------------


def test_the_options_of_every_wire(ask):
    options = {
        "extra_body": {"say": "Bye", "x": 1},
        "extra_query": {"q": "a b", "beta": True, "no": None},
        "extra_headers": {"X-Mine": "1"},
        "own": 2,
    }
    with FaultServer(FINE) as server:
        ask(at(server), Request("m", HELLO.messages, stream=True, options=options))
    request = server.requests[0]
    assert request.json() == {"say": "Bye", "x": 1, "own": 2}
    assert (request.target, request.header("x-mine")) == ("/talk?q=a+b&beta=true", "1")


def test_extras_that_are_none_add_nothing(ask):
    options = dict.fromkeys(("extra_body", "extra_query", "extra_headers"))
    with FaultServer(FINE) as server:
        ask(at(server), Request("m", HELLO.messages, stream=True, options=options))
    assert not any(server.requests[0].json().get(name) for name in options)


@pytest.mark.parametrize("options", [{"extra_headers": {"X": "a\nb"}}, {"extra_body": [1]}, {"extra_query": "x"}])
def test_a_wrong_option_of_every_wire_is_an_invalid_request(ask, options):
    with pytest.raises(InvalidRequestError, match=next(iter(options))):
        ask(at("http://127.0.0.1:1"), Request("m", HELLO.messages, options=options))


def test_a_provider_that_writes_no_request_for_vectors_has_none():
    with pytest.raises(CapabilityError, match="the provider has no embeddings"):
        at("http://127.0.0.1:9").embedding(EmbeddingRequest("m", (), texts=["a"]), CallContext(Timeout(total=30)))


def test_headers_and_the_key_s_own(ask):
    class Own(Acme):
        key_header = "x-api-key"

        def __init__(self, config):
            super().__init__(config)
            self.headers = {"X-Version": "1", "X-Title": "plugin"}  # after the base: nothing is sent yet

    with FaultServer(FINE) as server:
        ask(at(server, Own, headers={"X-Title": "user"}))
    headers = [server.requests[0].header(name) for name in ("x-version", "x-title", "x-api-key", "authorization")]
    assert headers == ["1", "user", CANARY, ""]


def test_a_signature_covers_the_request_as_it_is_sent(ask):
    signed = []

    class Signing(Acme):
        key_header = ""

        def build(self, request, call):
            return HttpRequest("/model/a%3Ab/x y", b"raw", headers={"Content-Type": "text/plain"}, query={"t": "1/2"})

        def sign(self, method, url, headers, body):
            signed.append((method, url, headers["Content-Type"], body))
            return {"authorization": "signed"}

    with FaultServer(WHOLE) as server:
        ask(at(server, Signing))
    request = server.requests[0]
    assert signed == [("POST", f"{server.url}/model/a%3Ab/x%20y?t=1%2F2", "text/plain", b"raw")]
    assert (request.target, request.body) == ("/model/a%3Ab/x%20y?t=1%2F2", b"raw")
    assert request.header("authorization") == "signed"


# --- before the request -------------------------------------------------------------------------------------------------


class WithToken(Acme):
    """Fetches a token at another place, and keeps it out of errors."""

    place = ""

    def build(self, request, call):
        self.secrets = ()
        answer = yield HttpRequest(f"{self.place}/token", b"grant=1", headers={"Content-Type": "text/plain"})
        self.secrets = (answer.json()["token"],)
        return HttpRequest("/talk", {}, headers={"Authorization": f"Bearer {answer.json()['token']}"})


def test_a_token_is_fetched_first_without_the_key(ask):
    refusal = http_response(401, {"error": f"the token {TOKEN} and the key {CANARY}"})
    with FaultServer(http_response(body={"token": TOKEN})) as other, FaultServer(refusal) as server:
        provider = at(server, WithToken)
        provider.place = other.url
        with pytest.raises(AuthenticationError) as caught:
            ask(provider)
    assert server.requests[0].header("authorization") == f"Bearer {TOKEN}"
    assert other.requests[0].header("authorization") == ""
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.excerpt
    assert "the token *** and the key ***" in shown
    assert not {TOKEN, CANARY} & {word.strip('"}') for word in shown.split()}


def test_a_token_from_the_same_place_is_asked_with_the_key(ask):
    with FaultServer(http_response(body={"token": TOKEN}), WHOLE) as server:
        ask(at(server, WithToken))
    assert server.requests[0].header("authorization") == f"Bearer {CANARY}"


def test_another_machine_is_not_asked_unencrypted(ask):
    provider = at("http://127.0.0.1:1", WithToken)
    provider.place = "http://name.invalid"
    with pytest.raises(ConfigurationError, match="unencrypted"):
        ask(provider)


def test_the_generator_may_handle_a_failure(ask):
    class Patient(Acme):
        def build(self, request, call):
            try:
                yield HttpRequest("/gone", method="GET")
            except ServerError:
                call.note("without")
            return HttpRequest("/talk", {})

    call = CallContext(Timeout())
    with FaultServer(http_response(500, b"no"), WHOLE) as server:
        assert ask(at(server, Patient), call=call)[-1] == Finish("stop")
    assert call.notes == ["without"]


class Waiting(Acme):
    def __init__(self, config):
        super().__init__(config)
        self.begun, self.over, self.threads = threading.Event(), threading.Event(), []

    def build(self, request, call):
        found = yield Blocking(self.work)
        return HttpRequest("/talk", {"found": found})

    def work(self):
        self.threads.append(threading.current_thread())
        self.begun.set()
        assert self.over.wait(60)
        return 7


def test_work_that_blocks_runs_in_a_thread(ask):
    with FaultServer(WHOLE) as server:
        provider = at(server, Waiting)
        provider.over.set()
        ask(provider)
    assert server.requests[0].json() == {"found": 7}
    assert provider.threads != [threading.current_thread()]


TENANT = contextvars.ContextVar("tenant")


def test_work_that_blocks_has_the_context_of_the_caller(ask):
    class Named(Acme):
        def build(self, request, call):
            return HttpRequest("/talk", {"tenant": (yield Blocking(TENANT.get))})

    with FaultServer(WHOLE) as server:
        token = TENANT.set("blue")
        ask(at(server, Named))
        TENANT.reset(token)
    assert server.requests[0].json() == {"tenant": "blue"}


def test_work_that_blocks_ends_with_the_call(ask):
    provider = at("http://127.0.0.1:1", Waiting)
    with pytest.raises(ProviderTimeoutError, match="total timeout"):
        ask(provider, call=CallContext(Timeout(total=0.05)))
    call = CallContext(Timeout(total=60))
    threading.Thread(target=lambda: (provider.begun.wait(60), call.cancel())).start()
    with pytest.raises(ProviderConnectionError, match="cancelled"):
        ask(provider, call=call)
    provider.over.set()


class AtOnce(Acme):
    def build(self, request, call):
        return HttpRequest("/talk", {})


class First(Acme):
    def build(self, request, call):
        yield HttpRequest("/token", {})
        return HttpRequest("/talk", {})


@pytest.mark.parametrize("kind", [AtOnce, First])
@pytest.mark.parametrize("limit", [0.0, 60.0])
def test_code_that_holds_the_event_loop_up_is_named(kind, limit, monkeypatch, caplog):
    monkeypatch.setattr(_blocks, "HELD_UP", limit)
    provider_class = type("Named", (kind,), {})  # of each class, one line is logged
    with FaultServer(*[WHOLE] * 4) as server:
        for _ in range(2):
            call = CallContext(Timeout(total=60))
            native(at(server, provider_class), call=call)
            told = [note for note in call.notes if "Named: its code blocked the event loop for 0.0 s; yield Blocking(" in note]
            assert bool(told) == (not limit)
    assert caplog.text.count("blocked the event loop") == (not limit)


def test_the_error_of_work_that_blocks_is_raised(ask, caplog):
    class Failing(Acme):
        def build(self, request, call):
            yield Blocking(lambda: {}["credentials"])

    with pytest.raises(KeyError, match="credentials"):
        ask(at("http://127.0.0.1:1", Failing))
    gc.collect()
    assert not caplog.records  # asyncio logs an error that was not taken from its future


# --- refusals and failures ----------------------------------------------------------------------------------------------


class Chatty(OpenAIChatProvider):
    refusals = (Refusal(error=QuotaExceededError, phrases=("wallet is dry",)),)


class Talking(Acme):
    refusals = Chatty.refusals


DRY = {"error": {"message": "Your wallet is dry"}}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("kind", "said"),
    [(Talking, DRY), (Chatty, DRY), (Chatty, {"choices": [{"index": 0, **DRY}]}), (Chatty, {"x_groq": DRY})],
    ids=["acme", "chat", "choice", "groq"],
)
def test_an_error_inside_an_answer_is_read_by_the_lines_of_the_provider(ask, kind, said, stream):
    headers = {"X-Request-Id": "r1", "Retry-After": "9"}
    script = chunked(sse(said, done=False), headers=headers) if stream else http_response(200, said, headers)
    with FaultServer(script) as server, pytest.raises(QuotaExceededError, match="wallet is dry") as caught:
        ask(at(server, kind), Request("m", HELLO.messages, stream=stream))
    assert (caught.value.request_id, caught.value.retry_after) == ("r1", 9.0)


def test_an_error_in_place_of_vectors_is_read_by_the_lines_of_the_provider():
    request, call = EmbeddingRequest("m", HELLO.messages, texts=["a"]), CallContext(Timeout(total=30))
    with (
        FaultServer(http_response(200, DRY)) as server,
        contextlib.closing(at(server, Chatty)) as provider,
        pytest.raises(QuotaExceededError, match="wallet is dry"),
    ):
        provider.embed(request, call)


def test_a_refusal_is_read_with_its_headers_and_its_whole_body(ask):
    class Own(Acme):
        def refusal(self, status, headers, body):
            return RateLimitError(headers["X-Kind"], status=status, retry_after=float(json.loads(body)["wait"]))

    script = http_response(400, {"long": "x" * 9000, "wait": 7}, {"x-kind": f"slow {CANARY}"})
    with FaultServer(script) as server, pytest.raises(RateLimitError, match=r"slow \*\*\*$") as caught:
        ask(at(server, Own))
    assert (caught.value.status, caught.value.retry_after) == (400, 7)


@pytest.mark.parametrize("script", [http_response(500, "no"), chunked(sse({"error": "no"}, done=False)), Close()])
def test_the_provider_has_the_last_word_on_a_failure(ask, script):
    class Own(Acme):
        def failed(self, error):
            return RateLimitError("mine") if not isinstance(error, RateLimitError) else error

    with FaultServer(script) as server, pytest.raises(RateLimitError, match="mine"):
        ask(at(server, Own))


def test_an_option_that_is_a_secret_is_kept_out_of_errors(ask):
    script = http_response(400, {"error": "the second-key-0123 is wrong"})
    with FaultServer(script) as server, pytest.raises(Exception, match=r"the \*\*\* is wrong"):
        ask(at(server, options={"session": Secret("second-key-0123")}))


# --- streams ------------------------------------------------------------------------------------------------------------


class Trailing(Acme):
    """Gives a finish reason, no end mark, and sometimes more after it."""

    seconds = 0.05

    def reading(self, request, call, headers):
        class Own(JsonReading):
            frames = LineDecoder
            trailing = self.seconds

            def event(self, data, name):
                yield data["text"]
                if "end" in data:
                    yield Finish(data["end"])

        return Own(call, headers)


LINES = [b'{"text": "fine", "end": "stop"}\n', b'{"text": " source"}\n']


@pytest.mark.parametrize("end", [True, False])
def test_data_after_the_end_is_waited_for_a_moment(ask, end):
    steps = chunked([*LINES, *([] if end else [Hold()])], end=end)
    with FaultServer(steps) as server:
        assert ask(at(server, Trailing)) == ["fine", Finish("stop"), " source"]


def test_bytes_without_meaning_do_not_prolong_the_wait_after_the_end(ask):
    script = [response_head(headers={"Content-Length": "9000"}), Send(LINES[0]), Drip(b"\n" * 150, interval=0.02), Close()]
    with FaultServer(script) as server:
        assert ask(at(server, Trailing)) == ["fine", Finish("stop")]


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_the_wait_after_the_end_is_over_before_the_deadline_of_the_call(is_async):
    kind = type("Patient", (Trailing,), {"seconds": 60.0})
    info = ProviderInfo(name="acme", models=[ModelInfo("m", supports_stream=True)])
    with FaultServer(chunked([LINES[0], Hold()], end=False)) as server, Hub(Settings(autoload=False)) as hub:
        hub.register(info, at(server, kind))
        found = asyncio.run(called(hub, True, timeout=1)) if is_async else called_here(hub, True, timeout=1)
    assert found[-1] == Finish("stop")


def test_a_connection_is_used_again_after_the_end_mark():
    with FaultServer(FINE, repeat=True) as server:
        provider = at(server)
        for _ in range(2):
            list(provider.stream(HELLO, CallContext(Timeout())))
        provider.close()
    assert server.connected == 1


# --- listings -----------------------------------------------------------------------------------------------------------


def pages():
    entries = yield from HttpRequest("/models", method="GET", query={"of": "me"}).pages("models", "next", "after")
    return [ModelInfo(entry["name"]) for entry in entries]


def test_a_listing_of_several_pages():
    first, last = {"models": [{"name": "a"}, 5], "next": "a"}, {"models": [{"name": "b"}]}
    with FaultServer(http_response(body=first), http_response(body=last)) as server:
        assert listed(at(server), pages()) == [ModelInfo("a"), ModelInfo("b")]
        server.client_gone(0)
    assert [request.target for request in server.requests] == ["/models?of=me", "/models?of=me&after=a"]


@pytest.mark.parametrize(("more", "asked"), [({"has_more": False}, 1), ({}, 2), ({"next": ""}, 1)])
def test_a_listing_ends_where_no_page_follows_or_the_same_one(more, asked):
    page = {"models": [{"name": "a"}], "next": "a", **more}
    with FaultServer(http_response(body=page), http_response(body=page)) as server:
        assert len(listed(at(server), pages())) == asked


def test_a_listing_that_never_ends_is_left():
    answers = [http_response(body={"models": [{"name": "a"}], "next": place}) for place in range(1, 30)]
    with FaultServer(*answers) as server:
        assert len(listed(at(server), pages())) == 20


@pytest.mark.parametrize("body", [b"<html>", b'{"models": {}}', b"[" * 9000])
def test_an_answer_that_is_no_list_of_models(body):
    with FaultServer(http_response(200, body)) as server, pytest.raises(ProtocolError, match="check the configured url"):
        listed(at(server), pages())


def test_a_listing_obeys_its_call():
    with FaultServer(Hold()) as server, pytest.raises(ProviderTimeoutError):
        listed(at(server), pages(), CallContext(Timeout(total=0.1)))


# --- the mistakes of authors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda self, request, call: {"say": "Hi"}, "returned dict; return an HttpRequest"),
        (lambda self, request, call: (None for _ in [1]), "yielded NoneType; yield an HttpRequest or Blocking"),
        (lambda self, request, call: HttpRequest("talk"), "begins with '/'"),
        (lambda self, request, call: HttpRequest("/talk", "text"), "sent as JSON"),
    ],
)
def test_a_wrong_request_is_named_with_its_fix(ask, build, words):
    kind = type("Wrong", (Acme,), {"build": build})
    with pytest.raises((PluginError, ValueError), match=words):
        ask(at("http://127.0.0.1:1", kind))


def test_a_request_that_cannot_be_written_is_no_failure_of_the_service(ask):
    stumbling = type("Stumbling", (Acme,), {"build": lambda self, request, call: request.messages[0]["nothing"]})
    with pytest.raises(PluginError, match="the plugin of 'acme' raised KeyError") as caught:
        ask(at("http://127.0.0.1:1", stumbling))
    assert caught.value.uncounted
    assert disposition(caught.value).counts == ""


def test_a_wrong_reader_is_named_with_its_fix(ask):
    kind = type("Wrong", (Acme,), {"reading": lambda self, request, call, headers: iter(())})
    with FaultServer(WHOLE) as server, pytest.raises(PluginError, match=r"reading\(\) returned .*; return a Reading"):
        ask(at(server, kind))


def test_a_reader_of_bytes(ask):
    class Raw(Reading):
        def __init__(self):
            self.left = b""

        def feed(self, data):
            self.left += data
            return ()

        def end(self):
            return [self.left.decode()]

    kind = type("Own", (Acme,), {"reading": lambda self, request, call, headers: Raw()})
    with FaultServer(http_response(200, "plain")) as server:
        assert ask(at(server, kind)) == ["plain"]


BODY = b'{"text": "fine", "end": "stop"}'
PACKED = gzip.compress(BODY)


@pytest.mark.parametrize(
    ("fields", "body", "words"),
    [
        (b"no field\r\nContent-Length: 31\r\n", BODY, "the answer is not HTTP: "),
        (b"Transfer-Encoding: gzip, chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(PACKED), PACKED), "the answer"),
        (
            b"Content-Encoding: gzip\r\nContent-Length: 31\r\n",
            BODY,
            "^the answer cannot be unpacked as its Content-Encoding says$",
        ),
    ],
    ids=["a line that is no field", "a transfer coding", "not packed"],
)
def test_an_answer_whose_body_cannot_be_found_is_refused_at_once(ask, fields, body, words):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%b\r\n" % fields
    with FaultServer([Send(head + body), Hold()]) as server, pytest.raises(ProtocolError, match=words):
        ask(at(server))


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "zstd"])
def test_an_answer_that_is_packed_in_another_way_names_the_coding(ask, coding):
    script = http_response(body={"text": "fine", "end": "stop"}, headers={"Content-Encoding": coding})
    with FaultServer(script) as server, pytest.raises(ProtocolError, match=f"the Content-Encoding '{coding}', which no request"):
        ask(at(server))


@pytest.mark.parametrize("coding", ["none", "utf-8", "identity", ""])
def test_a_coding_that_is_none_packs_nothing(ask, coding):
    with FaultServer(http_response(body={"text": "fine", "end": "stop"}, headers={"Content-Encoding": coding})) as server:
        assert ask(at(server))[0] == "fine"


def test_a_packed_answer_that_is_cut_is_told_in_plain_words(ask):
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED)
    script, words = [Send(head + PACKED[:-12]), Close()], r"^the connection ended before the answer did$"
    with FaultServer(script) as server, pytest.raises(ProtocolError, match=words):
        ask(at(server))


class Careless(Acme):
    """Reads each value as the type in the protocol, without a check."""

    def reading(self, request, call, headers):
        class Own(JsonReading):
            def event(self, data, name):
                if said := data.get("text"):
                    yield said
                yield from map(str.upper, data.get("more") or ())
                yield UsageDelta(Usage(**(data.get("counts") or {})))
                if data.get("end"):
                    self.done = True
                    yield Finish(data["end"])

        return Own(call, headers)


ODD = [
    {"text": 5}, {"text": ["a"]}, {"text": {"a": 1}}, {"more": 5}, {"more": [5]}, {"more": {"a": 1}, "counts": ["a"]}, {"end": 5},
    {"end": ["stop"]}, {"counts": "ab"}, {"counts": {"input_tokens": "5"}}, {"counts": {"input_tokens": True}},
]  # fmt: skip


async def called(hub, stream, **knobs):
    found = await hub.acomplete("acme/m", "Hello", stream=stream, **knobs)
    return [piece async for piece in found.events()] if stream else found


def called_here(hub, stream, **knobs):
    found = hub.complete("acme/m", "Hello", stream=stream, **knobs)
    return list(found.events()) if stream else found


@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_a_value_of_another_type_is_the_fault_of_the_answer(is_async, stream, odd):
    answer = {"text": "fine", "end": "stop", **odd}
    script = chunked(sse({"text": "x"}, answer, done=False)) if stream else http_response(body=answer)
    info = ProviderInfo(name="acme", models=[ModelInfo("m", supports_stream=True)])
    with FaultServer(script) as server, Hub(Settings(autoload=False, retry=RetryPolicy(attempts=1))) as hub:
        hub.register(info, at(server, Careless))
        with pytest.raises(ProviderHubError) as caught:
            asyncio.run(called(hub, stream)) if is_async else called_here(hub, stream)
    cause = getattr(caught.value, "cause", None) or caught.value
    assert type(cause) is ProtocolError
    assert "the answer has an unexpected shape: " in str(cause)


def test_an_answer_that_cannot_be_read_is_shown_without_the_key(ask):
    with FaultServer(http_response(body={"more": [5, CANARY]})) as server, pytest.raises(ProtocolError) as caught:
        ask(at(server, Careless))
    assert caught.value.excerpt == '{"more":[5,"***"]}'
    assert isinstance(caught.value.__cause__, TypeError)


# --- asynchronous or not ------------------------------------------------------------------------------------------------


def test_an_own_stream_alone_is_not_bypassed():
    class Own(Acme):
        def stream(self, request, call):
            yield "mine"

    class Both(Acme):
        def stream(self, request, call):
            yield "mine"

        async def astream(self, request, call):
            yield "mine too"

    assert at("http://127.0.0.1:1", Own).astream is None
    assert native(at("http://127.0.0.1:1", Both)) == ["mine too"]
    info = ProviderInfo(name="acme", models=(ModelInfo("m", supports_stream=True),))
    with Hub(Settings(autoload=False)) as hub:
        hub.register(info, at("http://127.0.0.1:1", Own))
        assert asyncio.run(hub.acomplete("m", "?")).text == "mine"


def test_a_stream_of_many_reads_hands_each_piece_over_at_once(ask):
    script = [*chunked(sse({"text": "a"}, done=False), end=False), Gate("read"), *FINE[1:]]

    class Watching(Acme):
        def reading(self, request, call, headers):
            class Own(AcmeReading):
                def event(self, data, name):
                    yield from super().event(data, name)
                    server.open("read")  # the piece was taken

            return Own(call, headers)

    with FaultServer(script) as server:
        assert ask(at(server, Watching)) == ["a", "fi", "ne", Finish("stop")]


def test_a_head_without_a_body_is_no_answer(ask):
    with FaultServer(Send(b"HTTP/1.1 204 No Content\r\n\r\n")) as server, pytest.raises(EmptyAnswerError):
        ask(at(server))


class Fetching(Acme):
    def build(self, request, call):
        yield HttpRequest("/token", {"grant_type": "client_credentials"})
        return HttpRequest("/talk", {})


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("said", "kind"), [("invalid_client", "AuthenticationError"), ("invalid_scope", "BadRequestError")])
def test_a_refused_token_is_no_fault_of_the_caller_s_request(is_async, said, kind):
    refusal = http_response(400, {"error": said, "error_description": "not known here"})
    with FaultServer(refusal) as first, FaultServer(WHOLE) as second, Hub() as hub:
        for name, server, made in (("fetching", first, Fetching), ("acme", second, Acme)):
            info = ProviderInfo(name=name, models=(ModelInfo("m"),))
            hub.register(info, at(server, made))
        models = ["fetching/m", "acme/m"]
        answer = asyncio.run(hub.acomplete(models, "Hello")) if is_async else hub.complete(models, "Hello")
    failure = answer.route.attempts[0].error
    assert answer.text == "fine"
    assert type(failure).__name__ == kind
    assert f"{said}: not known here" in str(failure)


def returned(method, value):
    reader = type("Returning", (AcmeReading,), {method: lambda *_: value})
    return type("Wrong", (Acme,), {"reading": lambda self, request, call, headers: reader(call, headers)})


@pytest.mark.parametrize("value", [{"text": "fine"}, "fine", None])
@pytest.mark.parametrize(("method", "script"), [("event", FINE), ("whole", WHOLE)])
def test_a_reader_that_returns_in_place_of_yielding_is_named_with_its_fix(ask, method, script, value):
    with (
        FaultServer(script) as server,
        pytest.raises(PluginError, match=rf"\(\) returned {type(value).__name__}; yield each piece"),
    ):
        ask(at(server, returned(method, value)))


def test_a_reader_that_returns_in_place_of_yielding_is_the_plugin_s_fault_in_a_call():
    with FaultServer(WHOLE) as server, Hub() as hub:
        hub.register(ProviderInfo(name="acme", models=(ModelInfo("m"),)), at(server, returned("event", "fine")))
        with pytest.raises(PluginError, match="yield each piece"):
            hub.complete("acme/m", "Hello")


@pytest.mark.parametrize("method", ["build", "reading"])
def test_a_missing_method_is_named(ask, method):
    kind = type("Wanting", (Acme,), {method: getattr(WireProvider, method)})
    with FaultServer(WHOLE) as server, pytest.raises(PluginError, match=rf"Wanting: the method {method}\(\) is missing"):
        ask(at(server, kind))


def test_a_missing_reader_of_frames_is_named(ask):
    kind = type("Wanting", (Acme,), {"reading": lambda self, request, call, headers: JsonReading(call, headers)})
    with FaultServer(WHOLE) as server, pytest.raises(PluginError, match=r"the method event\(\) is missing"):
        ask(at(server, kind))


def giving(value):
    yield from ()
    return value


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (lambda self: ["m"], "list in place of a generator; yield each HttpRequest"),
        (lambda self: giving("m"), "returned str; return a list"),
        (lambda self: giving({"m": 1}), "returned dict; return a list"),
        (lambda self: giving(None), "returned NoneType; return a list"),
        (WireProvider.models, r"the method models\(\) is missing"),
    ],
)
def test_a_wrong_list_of_models_is_named_with_its_fix(models, words):
    kind = type("Wrong", (Acme,), {"models": models})
    with pytest.raises(PluginError, match=words):
        kind.discover(ProviderConfig(name="acme", url="http://127.0.0.1:1"))


def test_a_chat_reader_with_an_event_is_refused():
    with pytest.raises(PluginError, match=r"never calls event\(\); override parsed\(\)"):
        type("Own", (ChatReading,), {"event": lambda self, data, name: iter(())})


# --- mistakes of authors ------------------------------------------------------------------------------------------------


class Own(JsonReading):
    def event(self, data, name):
        self.done = True
        yield from (data["text"], Finish("stop"))


def _own_init(self, *arguments):
    self.mine = 1


async def _coroutine(*_):
    return ()


async def _asynchronous(*_):
    yield "text"


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"event": lambda self, data, name: data["text"]}, r"\(\) returned str; yield each piece"),
        ({"event": lambda self, data, name: None}, r"\(\) returned NoneType; yield each piece"),
        ({"event": _coroutine}, r"_coroutine\(\) returned coroutine; yield .*; write `def` in place of `async def`"),
        ({"event": _asynchronous}, r"_asynchronous\(\) returned async_generator; yield .*; write `def` in place"),
        ({"__init__": _own_init}, r"Mine: call super\(\).__init__\(call, headers\) first in its __init__\(\)"),
        ({"frames": LineDecoder()}, r"Mine: frames is <.*>; name a class of framing itself, such as LineDecoder"),
        ({"frames": "ndjson"}, "Mine: frames is 'ndjson'; name a class"),
        ({"end": lambda self: None}, "'NoneType' object is not iterable"),
        ({"event": lambda self, data: iter(())}, "takes 2 positional arguments but 3 were given"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_mistake_in_a_reader_is_the_plugins_and_named_with_its_fix(is_async, attributes, words):
    kind = type("Mine", (Own,), attributes)
    provider = type("Acme", (Acme,), {"reading": lambda self, request, call, headers: kind(call, headers)})
    error = _failed_call(provider, is_async, WHOLE)
    assert isinstance(error, PluginError)
    assert re.search(words, str(error))


@pytest.mark.parametrize("method", ["feed", "end"])
def test_a_missing_method_of_a_reading_is_named(method):
    with pytest.raises(PluginError, match=rf"Reading: the method {method}\(\) is missing; write it as Reading.{method} says"):
        getattr(Reading(), method)(*[b"x"] * (method == "feed"))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"build": _coroutine}, r"build\(\) returned coroutine; return .*; write `def` in place of `async def`"),
        ({"__init__": _own_init}, r"Mine: call super\(\).__init__\(config\) first in its __init__\(\)"),
        ({"headers": None}, "Mine: headers must be a mapping and key_header a text, not None and 'Authorization'"),
        ({"headers": [("a", "b")]}, "Mine: headers must be a mapping"),
        ({"key_header": 3}, "Mine: headers must be a mapping and key_header a text, not .* and 3"),
        ({"sign": lambda *_: [("a", "b")]}, r"Mine: sign\(\) returned list; return a mapping of headers to add"),
        ({"refusal": lambda *_: None}, r"Mine: refusal\(\) returned None for HTTP 401; return a ProviderError"),
        ({"refusal": lambda *_: RateLimitError}, r"Mine: refusal\(\) returned <class .*RateLimitError'> for HTTP 401"),
        ({"failed": lambda *_: None}, r"Mine: failed\(\) returned None; return the error, or another one"),
        ({"build": lambda *_: HttpRequest("/", {}, method="post")}, "method must be in capitals, such as 'GET', not 'post'"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_mistake_in_a_provider_is_named_with_its_fix(is_async, attributes, words):
    error = _failed_call(type("Mine", (Acme,), attributes), is_async, http_response(401, {"error": "no"}))
    assert isinstance(error, PluginError)
    assert re.search(words, str(error))


@pytest.mark.parametrize("secrets", [None, "hidden", ("hidden", None), (3, "hidden")])
def test_secrets_of_any_kind_hide_no_error(ask, secrets):
    provider = type("Mine", (Acme,), {"secrets": secrets})
    with FaultServer(http_response(401, {"error": "hidden and abc"})) as server, pytest.raises(AuthenticationError) as caught:
        ask(at(server, provider))
    assert ("hidden and abc" if secrets is None else "*** and abc") in str(caught.value)


def _failed_call(kind, is_async, script):
    info = ProviderInfo(name="acme", models=(ModelInfo("m"),))
    with FaultServer(*[script] * 2) as server, Hub(Settings(autoload=False)) as hub:
        hub.register(info, at(server, kind))
        with pytest.raises(ProviderHubError) as caught:
            asyncio.run(hub.acomplete("m", "x")) if is_async else hub.complete("m", "x")
        return caught.value
