"""The phases of an answer, read by both transports: silence before the content, in reasoning, and after the content."""

import asyncio

import pytest

import providerhub
from providerhub import CallContext, Finish, ProviderTimeoutError, ReasoningDelta, Timeout
from providerhub.testing import (
    FaultServer,
    Hold,
    Pause,
    Repeat,
    Send,
    chunk,
    chunked,
    http_response,
    openai_chunk,
    openai_completion,
    response_head,
    sse,
)
from providerhub_openai.provider import OpenAI

PATIENT = {"first_token": 30.0, "byte_idle": 30.0, "token_idle": 30.0, "total": 60.0}
ROLE = openai_chunk("", role="assistant")
THOUGHT = openai_chunk(reasoning_content="Hm.")
ANSWER = openai_chunk("42")
REST = (*sse(ANSWER, done=False), *sse(openai_chunk(finish_reason="stop")))
SILENCE = Pause(0.4)
SHORT = 0.1
"""Seconds. The silence outlasts it."""


def _events(*steps):
    """Chunks as events; other steps unchanged."""
    found = [step if not isinstance(step, dict) else sse(step, done=False)[0] for step in steps]
    return chunked([*found, *REST])


@pytest.fixture(params=["sync", "async"])
def read(request):
    """`read(script, stream=True, reasoning=False, **timeouts)`: the pieces, and the call."""

    def pieces(provider, question, call):
        if request.param == "sync":
            found = list(provider.stream(question, call))
            provider.close()
            return found

        async def ask():
            try:
                return [piece async for piece in provider.astream(question, call)]
            finally:
                await provider.aclose()

        return asyncio.run(ask())

    def ask(script, *, stream=True, reasoning=False, **timeouts):
        question = providerhub.Request("m", [{"role": "user", "content": "?"}], stream=stream)
        call = CallContext(Timeout(**{**PATIENT, **timeouts}), reasoning=reasoning)
        with FaultServer(script) as server:
            found = pieces(OpenAI(providerhub.ProviderConfig(name="openai", url=server.url)), question, call)
            return [piece for piece in found if not isinstance(piece, providerhub.Detail)], call

    return ask


@pytest.mark.parametrize("before", [(), (ROLE,), (ROLE, b": still here\n\n")])
def test_silence_before_the_first_content_is_no_idleness(read, before):
    found, call = read(_events(*before, SILENCE), byte_idle=SHORT, token_idle=SHORT)
    assert found == ["42", Finish("stop")]
    assert call.idles


@pytest.mark.parametrize("idle", ["byte_idle", "token_idle"])
def test_silence_in_reasoning_is_allowed_where_it_is_expected(read, idle):
    found, call = read(_events(THOUGHT, SILENCE, THOUGHT, SILENCE), reasoning=True, **{idle: SHORT})
    assert found == [ReasoningDelta("Hm."), ReasoningDelta("Hm."), "42", Finish("stop")]
    assert call.content_at is not None


@pytest.mark.parametrize(("idle", "words"), [("byte_idle", "byte idle"), ("token_idle", "token idle")])
def test_silence_in_reasoning_that_nobody_expects_ends_the_answer(read, idle, words):
    with pytest.raises(ProviderTimeoutError, match=words):
        read(_events(THOUGHT, Hold()), **{idle: SHORT})


@pytest.mark.parametrize(("idle", "words"), [("byte_idle", "byte idle"), ("token_idle", "token idle")])
def test_silence_after_the_content_ends_the_answer(read, idle, words):
    with pytest.raises(ProviderTimeoutError, match=words):
        read(_events(THOUGHT, ANSWER, Hold()), reasoning=True, **{idle: SHORT})


def test_comments_are_life_for_the_byte_idle_timeout_only(read):
    beat = Repeat((Send(chunk(b": still here\n\n")), Pause(0.02)))
    with pytest.raises(ProviderTimeoutError, match="token idle"):
        read((*chunked(sse(ANSWER, done=False), end=False), beat), byte_idle=20, token_idle=0.3)


def test_reasoning_ends_the_wait_for_the_first_token(read):
    found, _ = read(_events(THOUGHT, SILENCE), reasoning=True, first_token=0.3)
    assert found[-1] == Finish("stop")


@pytest.mark.parametrize("before", [(), (Send(b" \r\n"),)])
def test_silence_before_the_body_of_a_whole_answer_is_no_idleness(read, before):
    [body] = [step.data for step in http_response(body=openai_completion("42"))]
    head, _, rest = body.partition(b"\r\n\r\n")
    size = len(rest) + sum(len(step.data) for step in before)
    head = response_head(headers={"Content-Type": "application/json", "Content-Length": str(size)})
    found, call = read((Send(head), *before, SILENCE, Send(rest)), stream=False, byte_idle=SHORT)
    assert found[0] == "42"
    assert call.idles


def test_silence_within_the_body_of_a_whole_answer_ends_it(read):
    head = response_head(headers={"Content-Type": "application/json", "Content-Length": "99"})
    with pytest.raises(ProviderTimeoutError, match="byte idle"):
        read((Send(head + b"{"), Hold()), stream=False, byte_idle=SHORT)


def test_the_body_of_a_refusal_that_does_not_come_is_not_waited_for(read):
    head = response_head(500, {"Content-Type": "application/json", "Content-Length": "99"})
    with pytest.raises(providerhub.ServerError, match="HTTP 500"):
        read((Send(head), Hold()), byte_idle=SHORT)
