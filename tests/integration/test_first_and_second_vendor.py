"""Two vendors, and the first one fails: the 16 scenarios of a public harness, as this project understands them.

Real sockets play the faults on the wire, and the waits take no time. Fake providers play silences of many seconds.
The order and the numbers are those of FailoverBench.
"""

import asyncio
import json
import random

import attrs
import pytest

from providerhub import (
    ContentPolicyError,
    Hub,
    ModelInfo,
    ProviderConfig,
    Restarted,
    ServerError,
    Settings,
    StreamInterruptedError,
    TextDelta,
    Timeout,
)
from providerhub.testing import (
    Close,
    FakeAsyncProvider,
    FakeClock,
    FaultServer,
    Hold,
    Pause,
    Reset,
    chunked,
    fake_hub,
    http_response,
    openai_chunk,
    openai_error,
    openai_stream,
    sse,
)

WORDS = ["A", *(f" word{number}" for number in range(1, 60))]
ANSWER = "".join(WORDS)
USAGE = {"prompt_tokens": 20, "completion_tokens": 60, "total_tokens": 80}
FINE = openai_stream(*WORDS)
CAREFUL = {"on_interrupt": "restart", "timeout": Timeout(first_token=10, head=10, byte_idle=10, token_idle=10)}
MODELS = ["first/good", "second/lesser"]


def answer(*middle, cut_at=60, done=True, usage=None):
    """A stream of the answer; `middle` stands in it at the word `cut_at`, and is all that follows when the stream is cut."""
    texts = [openai_chunk(word) for word in WORDS]
    end = [openai_chunk(finish_reason="stop"), *([{"choices": [], "usage": usage}] if usage else [])]
    rest = () if Close() in middle else (*texts[cut_at:], *end)
    return chunked(sse(*texts[:cut_at], *middle, *rest, done=done and Close() not in middle))


def refusal(status, code=None, **headers):
    return http_response(
        status, openai_error("no", code=code), {name.replace("_", "-"): value for name, value in headers.items()}
    )


def no_prefill(request):
    is_prefill = request.json()["messages"][-1]["role"] == "assistant"
    return refusal(400, "invalid_prefill") if is_prefill else FINE


CUT = answer(Close(), cut_at=40)
CONTEXT, FILTER = refusal(400, "context_length_exceeded"), refusal(400, "content_policy_violation")
WIRE = {
    # name: the answers of the first vendor and of the second; how often each is asked; whether a call has the answer by default.
    "01 a refusal with retry-after, once": ([refusal(429, retry_after="2"), FINE], FINE, (2, 0), True),
    "02 a refusal without retry-after, for ever": ([refusal(429)], FINE, (2, 1), True),
    "03 a failure of the server, once": ([refusal(500), FINE], FINE, (2, 0), True),
    "04 a failure of the server, for ever": ([refusal(503)], FINE, (2, 1), True),
    "05 a reset before the headers, once": ([Reset(), FINE], FINE, (2, 0), True),
    "08 a stream that is cut": ([CUT], FINE, (1, 1), False),
    "10 a malformed event": ([answer(b'{"choices": [{"delta": {"content": ', cut_at=10)], FINE, (1, 1), False),
    "11 a stream without an end mark": ([answer(done=False, usage=USAGE)], FINE, (1, 0), True),
    "12 a prompt that is too long": ([CONTEXT], FINE, (1, 1), True),
    "14 a second vendor that continues no answer": ([CUT], no_prefill, (1, 1), False),
    "16 the second vendor is the one that is named": ([refusal(503)], answer(usage=USAGE), (2, 1), True),
}


@pytest.fixture
def vendors():
    """`vendors(first, second)`: two fault servers, and a hub that asks them on a clock whose waits take no time."""
    made = []

    def start(first, second):
        servers = [FaultServer(*first, repeat=len(first) == 1), FaultServer(second, repeat=True)]
        made.extend(servers)
        providers = {
            name: ProviderConfig(plugin="openai", url=server.__enter__().url, api_key="none", models=("good", "lesser"))
            for name, server in zip(("first", "second"), servers, strict=True)
        }
        made.append(Hub(Settings(providers=providers, allow=("openai",)), clock=FakeClock()))
        return servers, made[-1]

    yield start
    for one in reversed(made):
        one.__exit__(None, None, None)


def complete(hub, models=MODELS, **knobs):
    """What an application has in the end: the text, and the whole answer."""
    with hub.complete(models, "Hello", stream=True, **knobs) as stream:
        if "on_interrupt" not in knobs:
            return "".join(stream), stream.completion
        texts = []
        for event in stream.events():
            _take(texts, event)
        return "".join(texts), stream.completion


def acomplete(hub, models=MODELS, **knobs):
    async def ask():
        async with hub, await hub.acomplete(models, "Hello", stream=True, **knobs) as stream:
            if "on_interrupt" not in knobs:
                return "".join([text async for text in stream]), stream.completion
            texts = []
            async for event in stream.events():
                _take(texts, event)
            return "".join(texts), stream.completion

    return asyncio.run(ask())


def _take(texts, event):
    if isinstance(event, Restarted):
        texts.clear()
    elif isinstance(event, TextDelta):
        texts.append(event.text)


@pytest.fixture(params=[complete, acomplete])
def ask(request):
    return request.param


@pytest.mark.parametrize("knobs", [{}, CAREFUL], ids=["defaults", "careful"])
@pytest.mark.parametrize("name", WIRE)
def test_on_the_wire(vendors, ask, name, knobs):
    first, second, asked, by_default = WIRE[name]
    servers, hub = vendors(first, second)
    if knobs or by_default:
        text, whole = ask(hub, **knobs)
        assert text == whole.text == ANSWER
        assert (whole.provider, whole.model) == (("second", "lesser") if asked[1] else ("first", "good"))
        assert whole.usage is None or whole.usage.output_tokens == 60
    else:  # a text that the caller has read cannot be taken back
        with pytest.raises(StreamInterruptedError):
            ask(hub, **knobs)
        asked = (1, 0)
    assert tuple(len(server.requests) for server in servers) == asked
    bodies = [json.loads(request.body) for server in servers for request in server.requests]
    assert all(body["messages"] == [{"role": "user", "content": "Hello"}] for body in bodies)


@pytest.mark.parametrize("knobs", [{}, CAREFUL], ids=["defaults", "careful"])
def test_13_a_refusal_of_the_content_is_told_and_not_routed_around(vendors, ask, knobs):
    servers, hub = vendors([FILTER], FINE)
    with pytest.raises(ContentPolicyError, match="no"):
        ask(hub, **knobs)
    assert [len(server.requests) for server in servers] == [1, 0]


SILENT = {
    "06 silence": ([Hold()], 60, 10),
    "07 a slow first token": ([Pause(20), *WORDS], 20, 10),
    "09 a stream that stalls": ([*WORDS[:20], Hold()], None, 10),
}


@pytest.mark.parametrize("name", SILENT)
@pytest.mark.parametrize("knobs", [{}, CAREFUL], ids=["defaults", "careful"])
def test_silences(ask, name, knobs):
    script, usual, careful = SILENT[name]
    clock = FakeClock()
    first = FakeAsyncProvider(script, name="first", clock=clock)
    second = FakeAsyncProvider(ANSWER, name="second", clock=clock)
    with fake_hub(first, second) as hub:
        if not knobs and usual is None:
            with pytest.raises(StreamInterruptedError):
                ask(hub)
            assert clock() - 1000 <= 120
            return
        text, _ = ask(hub, **knobs)
    assert text == ANSWER
    assert clock() - 1000 <= (careful if knobs else usual) + 2
    assert len(first.calls) == 1


@pytest.mark.parametrize("seed", range(20))
def test_15_down_for_a_minute(seed):
    """All of twenty calls in 77 s are answered, and the first vendor is asked again within 30 s of its return."""
    clock, rng = FakeClock(), random.Random(seed).random
    first = FakeAsyncProvider(lambda _: ServerError("down") if clock() < 1060 else ANSWER, name="first", clock=clock)
    second = FakeAsyncProvider(ANSWER, name="second", clock=clock)
    hub = Hub(Settings(autoload=False), clock=clock, rng=rng)
    for one in (first, second):
        hub.register(attrs.evolve(one.info, models=(ModelInfo("good"), ModelInfo("lesser"))), one)
    providers, returned = [], None
    for number in range(20):
        clock.advance(max(0.0, 1000 + 4 * number - clock()))
        text, whole = complete(hub)
        assert text == ANSWER
        providers.append(whole.provider)
        returned = clock() if whole.provider == "first" and returned is None else returned
    assert set(providers[:15]) == {"second"}
    assert returned is not None
    assert returned - 1060 <= 30
    assert len([call for call in first.calls if call.state == "failed"]) <= 15
    hub.close()
