"""Rows 66 to 69, 83 and 84 of the fault matrix: silence with and without another candidate, and answers in an odd shape."""

import gzip
import json

import pytest

from providerhub import BreakerRules, DeadlineExceededError, ProtocolError, RetryPolicy, StreamInterruptedError, Timeout
from providerhub.testing import (
    Drip,
    Gate,
    Hold,
    Pause,
    Repeat,
    chunked,
    close_delimited,
    http_response,
    openai_chunk,
    openai_completion,
    openai_stream,
    response_head,
    sse,
)

ROLE = openai_chunk(role="assistant", content="")
STOP = openai_chunk(finish_reason="stop")
SHORT = RetryPolicy(backoff=0.02, beside_after=0.05)
PINGS = Repeat([Drip(b": still here\n\n", 0.005)])


def answer_to(request, text="fine"):
    return openai_stream(text) if request.json().get("stream") else http_response(body=openai_completion(text))


def test_fault_66_silence_and_another_candidate(row, serve, stream):
    hub = row.joined(serve(Hold()), stream=stream)
    assert row.candidates(hub) == ["a", "b"]  # such a short silence does not count


def test_fault_66_silence_after_the_headers_and_another_candidate(row, serve, stream):
    kind = "text/event-stream" if stream else "application/json"
    row.joined(serve([response_head(headers={"Content-Type": kind}), Hold()]), stream=stream)


def test_fault_66_half_of_a_whole_answer_and_another_candidate(row, serve):
    head = response_head(headers={"Content-Type": "application/json", "Content-Length": "500"})
    row.joined(serve([head, b'{"choices": [', Hold()]), stream=False)


def test_fault_66_half_of_the_time_is_left_to_the_next_candidate(way, hub_of, serve, good, stream):
    answer = way.answer(hub_of(a=serve(Hold()), b=good, timeout=Timeout(total=3)), stream=stream)
    first, second = answer.route.attempts
    assert (answer.provider, first.outcome, second.started >= 1.5) == ("b", "abandoned", True)


def test_fault_66a_slow_answer_of_the_only_provider(way, hub_of, serve, stream):
    server = serve(lambda request: [Pause(2.2), *answer_to(request)])
    answer = way.answer(hub_of(a=server, timeout=Timeout(total=4)), stream=stream)
    assert [(attempt.provider, attempt.outcome) for attempt in answer.route.attempts] == [("a", "ok")]


def test_fault_66a_slow_answers_of_two_providers(way, hub_of, serve, stream):
    # The second provider, which is also slow, is asked after the share. Then the first answer comes, and is not lost.
    def late(request):
        slow.open("asked")
        return [Hold()]

    slow = serve(lambda request: [Gate("asked"), *answer_to(request)])
    answer = way.answer(hub_of(a=slow, b=serve(late), retry=SHORT), stream=stream)
    assert [(attempt.provider, attempt.outcome) for attempt in answer.route.attempts] == [("a", "ok"), ("b", "abandoned")]
    assert answer.text == "fine"


def test_fault_67_silence_and_no_candidate_left(row, serve, stream):
    row.out_of_time(serve(Hold()), stream=stream, timeout=Timeout(total=1.5))


@pytest.mark.parametrize(("stall", "counts"), [(10.0, False), (0.05, True)])
def test_fault_67_silence_counts_when_it_was_long_enough(way, hub_of, serve, good, row, stall, counts):
    rules = {"breaker": BreakerRules(stall=stall)}
    hub = hub_of(a=serve(Hold()), b=good, timeout=Timeout(total=0.5), settings=rules)
    for _ in range(5):
        way.fails(hub, DeadlineExceededError, "a/m", stream=True)
    assert row.skips(hub) == ([("a", "breaker open")] if counts else [])


def test_fault_68_long_silence_after_the_first_chunk(way, hub_of, serve):
    # Four times the idle timeouts: they do not begin before the first content.
    said = [*sse(ROLE, done=False), Pause(0.8), b"".join(sse(openai_chunk("fine"), STOP))]
    timeout = Timeout(byte_idle=0.2, token_idle=0.2, total=60)
    answer = way.answer(hub_of(a=serve(close_delimited(said)), timeout=timeout), stream=True)
    assert (answer.text, len(answer.route.attempts)) == ("fine", 1)


def test_fault_69_pings_only_and_another_candidate(row, serve):
    row.joined(serve(close_delimited([PINGS])))


def test_fault_69_pings_only_and_no_candidate_left(row, serve):
    row.out_of_time(serve(close_delimited([PINGS])), timeout=Timeout(total=1.5))


def message(name):
    said = {"type": "message_start", "message": {"id": name, "role": "assistant", "content": [], "usage": {}}}
    return f"event: message_start\ndata: {json.dumps(said)}\n\n".encode()


def delta(text):
    said = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return f"event: content_block_delta\ndata: {json.dumps(said)}\n\n".encode()


ENDED = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'


def test_fault_83_second_message_before_the_first_content(way, hub_of, serve):
    mixed = serve(chunked([message("one"), message("two"), delta("never"), ENDED]))
    fine = serve(chunked([message("one"), message("one"), delta("fine"), ENDED]))
    answer = way.answer(hub_of(a=mixed, b=fine, plugin="anthropic"), stream=True)
    assert (answer.text, answer.provider, type(answer.route.attempts[0].error)) == ("fine", "b", ProtocolError)


def test_fault_83_second_message_after_the_first_content(way, hub_of, serve):
    mixed = serve(chunked([message("one"), delta("Hello"), message("two"), delta("never"), ENDED]))
    opened, handed = way.call(hub_of(a=mixed, plugin="anthropic"), stream=True), []
    with pytest.raises(StreamInterruptedError, match="second message") as caught:
        way.read(opened, into=handed)
    assert "".join(handed) == caught.value.partial == "Hello"


def test_fault_83_second_message_of_another_protocol(way, hub_of, serve):
    first, second = openai_chunk("Hello"), {**openai_chunk("never"), "id": "two"}
    second["choices"][0]["delta"]["role"] = "assistant"
    opened, handed = way.call(hub_of(a=serve(chunked(sse(ROLE, first, second, STOP)))), stream=True), []
    with pytest.raises(StreamInterruptedError, match="second message") as caught:
        way.read(opened, into=handed)
    assert "".join(handed) == caught.value.partial == "Hello"


@pytest.mark.parametrize("packed", [False, True])
def test_fault_84_whole_answer_that_comes_as_a_packed_stream(way, hub_of, serve, packed):
    text = "".join(f"word {number} " for number in range(20_000))
    body = b"".join(sse(ROLE, *(openai_chunk(text[place : place + 500]) for place in range(0, len(text), 500)), STOP))
    assert len(body) > 65536
    headers = {"Content-Type": "text/event-stream", **({"Content-Encoding": "gzip"} if packed else {})}
    server = serve(http_response(200, gzip.compress(body) if packed else body, headers))
    assert way.answer(hub_of(a=server), stream=False).text == text
