"""Rows 19-34 of the fault matrix: how a stream may begin, break, stall and end."""

import json

import pytest

from providerhub import (
    AuthenticationError,
    ContextLengthError,
    DeadlineExceededError,
    EmptyAnswerError,
    ModelNotFoundError,
    ModelUnavailableError,
    ProtocolError,
    ProviderConnectionError,
    ProviderTimeoutError,
    QuotaExceededError,
    RetryPolicy,
    ServerError,
    StreamInterruptedError,
    Timeout,
)
from providerhub.testing import (
    Close,
    Drip,
    Gate,
    Hold,
    Repeat,
    Reset,
    chunked,
    close_delimited,
    http_response,
    openai_chunk,
    openai_completion,
    openai_error,
    response_head,
    sse,
)

HELLO = [openai_chunk(role="assistant", content=""), openai_chunk("Hel"), openai_chunk("lo")]
"""Chunks that make `Hello`, the first without content."""
STOP = openai_chunk(finish_reason="stop")
DONE = b"data: [DONE]\n\n"


def events(*data, done=False):
    return sse(*data, done=done)


FRAMES = {"chunked": chunked, "close-delimited": close_delimited}


@pytest.fixture(params=FRAMES)
def frame(request):
    """Both ways to frame a stream."""
    return FRAMES[request.param]


def streams(way, hub_of, server, text="Hello"):
    """Read a stream that is a success; gives its `Completion`."""
    opened = way.call(hub_of(a=server), stream=True)
    assert "".join(way.read(opened)) == text
    assert [attempt.outcome for attempt in opened.route.attempts] == ["ok"]
    assert opened.completion.text == text
    return opened.completion


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/vnd.acme+JSON", "text/plain", ""]
)
def test_fault_19_whole_json_though_a_stream_was_asked_for(way, hub_of, serve, kind):
    body = openai_completion("all at once", usage={"prompt_tokens": 3, "completion_tokens": 4})
    for text in (json.dumps(body), json.dumps(body, indent=2)):
        server = serve(http_response(200, text, {"Content-Type": kind}))
        opened = way.call(hub_of(a=server), stream=True)
        assert way.read(opened) == ["all at once"]
        answer = opened.completion
        assert (answer.finish_reason, answer.usage.output_tokens) == ("stop", 4)
        assert [attempt.outcome for attempt in answer.route.attempts] == ["ok"]


def test_fault_19_whole_json_that_comes_in_pieces(way, hub_of, serve):
    body = json.dumps(openai_completion("all at once", usage={"prompt_tokens": 3, "completion_tokens": 4})).encode()
    for kind in ("application/json", "text/plain"):
        server = serve(chunked([body[place : place + 7] for place in range(0, len(body), 7)], headers={"Content-Type": kind}))
        assert way.read(way.call(hub_of(a=server), stream=True)) == ["all at once"]


MISSING = b"The model: `gpt-4` does not exist"


@pytest.mark.parametrize(
    "body",
    [
        [MISSING + b"\n\n"],
        [b"data: " + MISSING + b"\n\n"],
        events(openai_chunk(role="assistant", content=""), MISSING),
        events({"error": {"message": MISSING.decode()}}),
        events({"error": MISSING.decode()}),
        events({"error": {"message": "gone", "code": "model_not_found"}}),
    ],
    ids=["bare line", "event", "later event", "error object", "error text", "code"],
)
@pytest.mark.parametrize("end", [(), (Hold(),), (Close(),)], ids=["whole", "held", "cut"])
def test_fault_20_missing_model_told_inside_the_stream(row, serve, body, end):
    server = serve(chunked([*body, *end], end=not end))
    row.fails_over(server, ModelUnavailableError, again=True, counts=False)


def test_fault_20_missing_model_told_in_a_line_without_an_end(row, serve, frame):
    row.fails_over(serve(frame([MISSING])), ModelUnavailableError, again=True, counts=False)


def test_fault_20_missing_model_everywhere_is_a_value_error(way, hub_of, serve):
    server = serve(chunked([MISSING + b"\n\n"]))
    error = way.fails(hub_of(a=server, b=server), ModelNotFoundError, stream=True)
    assert isinstance(error, ValueError)
    assert "does not exist" in str(error)
    assert [attempt.provider for attempt in error.route.attempts] == list("abab")


def test_fault_20_missing_model_as_the_models_own_words(way, hub_of, serve):
    text = f"data: {MISSING.decode()}"
    streams(way, hub_of, serve(chunked(events(openai_chunk(text), STOP, done=True))), text)


BOOM = openai_error("boom", kind="server_error")
ERROR_EVENTS = {
    "object": sse(BOOM, event="error", done=False),
    "typed object": sse({"type": "error", **BOOM}, event="error", done=False),
    "flat object": sse({"message": "boom", "code": "server_error"}, event="error", done=False),
    "flat object without a code": sse({"message": "boom"}, event="error", done=False),
}


@pytest.mark.parametrize("form", ERROR_EVENTS)
@pytest.mark.parametrize("end", [(), (Hold(),)], ids=["whole", "held"])
def test_fault_21_error_event_before_the_first_token(row, serve, form, end):
    server = serve(chunked([*events(HELLO[0]), *ERROR_EVENTS[form], *end], end=not end))
    error = row.fails_over(server, ServerError, again=True)
    assert "boom" in str(error)


@pytest.mark.parametrize("form", ERROR_EVENTS)
def test_fault_21_error_event_after_the_first_token(row, serve, form):
    server = serve(chunked([*events(*HELLO), *ERROR_EVENTS[form], DONE]))
    error = row.interrupts(server, ServerError, "Hello")
    assert "boom" in str(error.cause)


@pytest.mark.parametrize("data", [b"boom", b"[1]", b"5"])
def test_fault_21_error_event_that_is_no_object(row, serve, data):
    boom = sse(data, event="error", done=False)
    row.fails_over(serve(chunked([*boom, DONE])), ServerError, again=True)
    error = row.interrupts(serve(chunked([*events(*HELLO), *boom, DONE])), ServerError, "Hello")
    assert str(error.cause).endswith(f": {data.decode()}")


@pytest.mark.parametrize("line", [b'{"error": {"message": "boom"}}\n', b'{"error": "boom"}'])
def test_fault_22_bare_error_between_events(row, serve, line):
    error = row.interrupts(serve(chunked([*events(*HELLO), line])), ServerError, "Hello")
    assert str(error.cause).endswith(": boom")


PLAIN = [
    (BOOM, ServerError, True, True, ""),
    ({"error": "boom"}, ServerError, True, True, ""),
    ({"error": {"message": "boom", "code": 503}}, ServerError, True, True, ""),
    ({**openai_chunk(finish_reason="error"), "error": {"message": "boom", "code": 502}}, ServerError, True, True, ""),
    (openai_error("no money", code="insufficient_quota"), QuotaExceededError, False, False, "quota used up"),
    (openai_error("bad key", code="invalid_api_key"), AuthenticationError, False, False, "key rejected"),
]


@pytest.mark.parametrize(("data", "error", "again", "counts", "pause"), PLAIN)
def test_fault_22_error_as_data_before_the_first_token(row, serve, data, error, again, counts, pause):
    row.fails_over(serve(chunked(events(data, done=True))), error, again=again, counts=counts, pause=pause)


def test_fault_22_error_as_data_that_stops(row, serve):
    row.stops(
        serve(chunked(events(openai_error("too long", code="context_length_exceeded")))),
        ContextLengthError,
        windows={"a": 8192, "b": 8192},
    )


@pytest.mark.parametrize("data", [BOOM, {"error": "boom"}, {"error": {"message": "boom", "code": 503}}])
def test_fault_22_error_as_data_after_the_first_token(row, serve, data):
    error = row.interrupts(serve(chunked(events(*HELLO, data, done=True))), ServerError, "Hello")
    assert "boom" in str(error.cause)


def test_fault_22_error_as_data_that_repeats_the_key(row, serve, canary):
    data = openai_error(f"cannot use {canary}", kind="server_error")
    error = row.interrupts(serve(chunked(events(*HELLO, data))), ServerError, "Hello")
    assert "cannot use ***" in str(error)


def test_fault_22_null_error_is_none(way, hub_of, serve):
    chunks = [{**chunk, "error": None} for chunk in (*HELLO, STOP)]
    streams(way, hub_of, serve(chunked(events(*chunks, done=True))))


CUTS = {
    "between chunks": [],
    "in a chunk": [b"40\r\ndata: {"],
    "in a chunk's size": [b"4"],
    "behind a chunk's size": [b"40\r\n"],
}


@pytest.mark.parametrize("cut", CUTS)
def test_fault_23_chunked_body_cut(row, serve, cut):
    server = serve([*chunked(events(*HELLO), end=False), *CUTS[cut], Close()])
    row.interrupts(server, ProtocolError, "Hello")


@pytest.mark.parametrize("cut", CUTS)
def test_fault_23_chunked_body_cut_before_the_first_token(row, serve, cut):
    server = serve([*chunked(events(HELLO[0]), end=False), *CUTS[cut], Close()])
    row.fails_over(server, ProtocolError, again=False)


def test_fault_23_chunked_body_of_nonsense(row, serve, canary):
    junk = f"no size {canary}\r\n\r\n".encode()
    row.interrupts(serve([*chunked(events(*HELLO), end=False), junk, Hold()]), ProtocolError, "Hello")
    row.fails_over(serve([*chunked(events(HELLO[0]), end=False), junk, Hold()]), ProtocolError, again=False)


def test_fault_23_chunked_body_cut_of_a_whole_answer(row, serve):
    body = json.dumps(openai_completion("Hello")).encode()
    server = serve([*chunked([body[:-5]], end=False, headers={"Content-Type": "application/json"}), Close()])
    row.fails_over(server, ProtocolError, again=False, stream=False)


def test_fault_23_body_shorter_than_its_length(row, serve, stream):
    head = response_head(headers={"Content-Type": "application/json", "Content-Length": "500"})
    server = serve([head, json.dumps(openai_completion("Hello")).encode(), Close()])
    row.fails_over(server, ProtocolError, again=False, stream=stream)


@pytest.mark.parametrize("left", [b"", b"data: ", b'data: {"choices":[{"delta":{"content":"x"}}]}', b": on my way\n\n"])
def test_fault_24_close_delimited_body_cut(row, serve, left):
    server = serve(close_delimited([*events(*HELLO), left]))
    error = row.interrupts(server, ProtocolError, "Hello")
    assert "the stream ended" in str(error.cause)


@pytest.mark.parametrize("left", [b"", b"data: ", b'data: {"choices":[{"delta":{"content":"x"}}]}'])
def test_fault_24_close_delimited_body_cut_before_the_first_token(row, serve, left):
    row.fails_over(serve(close_delimited([*events(HELLO[0]), left])), ProtocolError, again=False)


def test_fault_24_whole_chunked_body_without_a_terminal_event(row, serve):
    row.interrupts(serve(chunked(events(*HELLO))), ProtocolError, "Hello")


def test_fault_24_close_delimited_whole_answer_cut(row, serve):
    body = json.dumps(openai_completion("Hello")).encode()
    server = serve(close_delimited([body[:-5]], headers={"Content-Type": "application/json"}))
    row.fails_over(server, ProtocolError, again=False, stream=False)


def test_fault_25_finish_reason_and_no_done(way, hub_of, serve, frame):
    answer = streams(way, hub_of, serve(frame(events(*HELLO, STOP))))
    assert answer.finish_reason == "stop"
    assert answer.route.attempts[0].notes == ()


def test_fault_25_finish_reason_and_no_done_then_usage(way, hub_of, serve, frame):
    answer = streams(way, hub_of, serve(frame(events(*HELLO, STOP, openai_chunk(usage={"completion_tokens": 2})))))
    assert (answer.finish_reason, answer.usage.output_tokens) == ("stop", 2)


def test_fault_26_done_and_no_finish_reason(way, hub_of, serve, frame):
    answer = streams(way, hub_of, serve(frame(events(*HELLO, done=True))))
    assert answer.finish_reason is None
    (note,) = answer.route.attempts[0].notes
    assert "no finish_reason" in note


AFTER = {
    "done again": [DONE],
    "more text": events(openai_chunk(" never")),
    "an error": events(BOOM),
    "garbage": [b"\xff\xfe{]\n\n"],
    "for ever": [Repeat(b"data: x\n\n")],
}


@pytest.mark.parametrize("after", AFTER)
def test_fault_27_data_after_done(way, hub_of, serve, frame, after):
    # In one piece with the end mark, so that it has surely arrived; then once more.
    last = b"".join([DONE, *(piece for piece in AFTER[after] if isinstance(piece, bytes))])
    server = serve(frame([*events(*HELLO, STOP), last, *AFTER[after]]))
    answer = streams(way, hub_of, server)
    assert answer.finish_reason == "stop"
    server.client_gone()  # a connection that may hold further bytes is closed, not used again


def test_fault_28_done_and_no_final_zero_chunk(way, hub_of, serve):
    server = serve([*chunked(events(*HELLO, STOP, done=True), end=False), Hold()])
    answer = streams(way, hub_of, server)
    assert answer.finish_reason == "stop"
    server.client_gone()


def test_fault_28_done_then_reset(way, hub_of, serve):
    server = serve([*chunked(events(*HELLO, STOP, done=True), end=False), Gate("read"), Reset()])
    opened = way.call(hub_of(a=server), stream=True)
    server.reached("read")
    server.open("read")
    assert "".join(way.read(opened)) == "Hello"


def test_fault_28_done_and_the_final_chunk_frees_the_connection(way, hub_of, serve):
    server = serve(chunked(events(*HELLO, STOP, done=True)))
    hub = hub_of(a=server)
    for _ in range(3):
        assert way.answer(hub, stream=True).text == "Hello"
    assert (server.connected, server.served) == (1, 3)


@pytest.mark.parametrize("mark", [b"data: [DONE]\n", b"data: [DONE]\r\n", b"data:[DONE]\n"])
@pytest.mark.parametrize("end", [(), (Hold(),)], ids=["whole", "held"])
def test_fault_29_done_without_a_blank_line(way, hub_of, serve, frame, mark, end):
    script = frame([*events(*HELLO, STOP), mark, *end])
    assert streams(way, hub_of, serve(script)).finish_reason == "stop"


def test_fault_29_done_without_any_line_end(way, hub_of, serve, frame):
    answer = streams(way, hub_of, serve(frame([*events(*HELLO), b"data: [DONE]"])))
    assert answer.finish_reason is None


@pytest.mark.parametrize("body", [[], [b"\n\n"], [b": hello\n\n"], [b"event: ping\n\n"], [DONE]])
def test_fault_30_empty_stream(row, serve, frame, body):
    row.fails_over(serve(frame(body)), EmptyAnswerError, again=False)


def test_fault_30_empty_whole_answer(row, serve):
    for body, error in (
        (b"", EmptyAnswerError),
        (b"{}", ProtocolError),
        ({"choices": []}, ProtocolError),
        ({"id": "x", "choices": None}, ProtocolError),
    ):
        row.fails_over(serve(http_response(200, body)), error, again=False, stream=False)


def test_fault_30_empty_stream_with_a_length(row, serve):
    server = serve(http_response(200, b"", {"Content-Type": "text/event-stream"}))
    row.fails_over(server, EmptyAnswerError, again=False)


@pytest.mark.parametrize("chunks", [[HELLO[0], STOP], [STOP]])
def test_fault_30_stream_with_an_end_mark_only(way, hub_of, serve, chunks):
    # An empty text with a finish reason is an answer.
    answer = streams(way, hub_of, serve(chunked(events(*chunks, done=True))), "")
    assert answer.finish_reason == "stop"


def test_fault_31_reset_in_mid_stream(way, hub_of, serve, row, good):
    server = serve([*chunked(events(*HELLO), end=False), Gate("read"), Reset()])
    hub = hub_of(a=server, b=good)
    stream = way.call(hub, stream=True)
    handed = [way.next(stream), way.next(stream)]
    server.open("read")
    with pytest.raises(StreamInterruptedError) as caught:
        way.read(stream)
    assert handed == ["Hel", "lo"]
    assert caught.value.partial == "Hello"
    assert isinstance(caught.value.cause, ProviderConnectionError | ProtocolError)
    assert good.served == 0
    # The gate stays open: from now on, the reset may overtake earlier bytes, as in reality.
    for _ in range(4):
        assert row.candidates(hub) == ["a", "b"]
        with pytest.raises((StreamInterruptedError, ProviderConnectionError, ProtocolError)):
            way.answer(hub, "a/m", stream=True)
    assert row.skips(hub) == [("a", "breaker open")]


QUIET = Timeout(first_token=20, byte_idle=20, token_idle=0.1, total=60)


def test_fault_32_stall_in_mid_stream(row, serve):
    server = serve([*chunked(events(*HELLO), end=False), Hold()])
    error = row.interrupts(server, ProviderTimeoutError, "Hello", timeout=QUIET)
    assert "token idle" in str(error.cause)
    assert server.client_gone() in {"closed", "reset"}


def test_fault_32_stall_of_all_bytes(row, serve):
    server = serve([*chunked(events(*HELLO), end=False), Hold()])
    timeout = Timeout(first_token=20, byte_idle=0.1, token_idle=20, total=60)
    error = row.interrupts(server, ProviderTimeoutError, "Hello", timeout=timeout)
    assert "byte idle" in str(error.cause)


def test_fault_32_stall_of_a_whole_answer(row, serve):
    head = response_head(headers={"Content-Type": "application/json", "Content-Length": "500"})
    timeout = Timeout(byte_idle=0.06, total=60)
    error = row.fails_over(serve([head, b'{"choices"', Hold()]), ProviderTimeoutError, again=True, stream=False, timeout=timeout)
    assert "byte idle" in str(error)


def test_fault_32_stall_before_the_first_token(row, serve):
    server = serve([*chunked(events(HELLO[0]), end=False), Hold()])
    timeout = Timeout(first_token=0.06, byte_idle=20, token_idle=20, total=60)
    error = row.fails_over(server, ProviderTimeoutError, again=True, timeout=timeout)
    assert "first token" in str(error)


DRIP = Drip(b"data: " + b"x" * 100_000, 0.01)
"""A byte now and then, for longer than any test."""


def test_fault_33_byte_by_byte_for_ever(row, serve):
    server = serve(close_delimited([*events(*HELLO), DRIP]))
    error = row.interrupts(server, ProviderTimeoutError, "Hello", timeout=QUIET)
    assert "token idle" in str(error.cause)


def test_fault_33_byte_by_byte_for_ever_before_the_first_token(row, serve):
    timeout = Timeout(first_token=0.06, byte_idle=20, token_idle=20, total=60)
    error = row.fails_over(serve(close_delimited([DRIP])), ProviderTimeoutError, again=True, timeout=timeout)
    assert "first token" in str(error)


def test_fault_33_byte_by_byte_until_the_total_is_over(row, serve, stream):
    kind = "text/event-stream" if stream else "application/json"
    script = close_delimited([DRIP], headers={"Content-Type": kind})
    row.out_of_time(serve(script), stream=stream, timeout=Timeout(byte_idle=20, token_idle=20, total=1.5))
    if stream:  # the first byte of a whole answer's body ends its share
        row.joined(serve(script))


def test_fault_33_byte_by_byte_until_the_total_is_over_in_mid_stream(row, hub_of, serve, good):
    hub = hub_of(a=serve(close_delimited([*events(*HELLO), DRIP])), b=good, retry=RetryPolicy(beside_after=60))
    error = row.interrupted(hub, DeadlineExceededError, "Hello", timeout=1)
    assert [attempt.provider for attempt in error.route.attempts] == ["a"]


def test_fault_33_token_by_token_until_the_total_is_over(way, hub_of, serve):
    # Only the total timeout ends this stream: its tokens never stop.
    server = serve(close_delimited([Repeat([events(openai_chunk("x"))[0], Drip(b": \n\n", 0.002)])]))
    stream = way.call(hub_of(a=server), stream=True, timeout=0.5)
    with pytest.raises(StreamInterruptedError) as caught:
        way.read(stream)
    assert type(caught.value.cause) is DeadlineExceededError
    assert caught.value.partial.strip("x") == ""


COMMENTS = Repeat([Drip(b": still here\n\n", 0.005)])


def test_fault_34_only_comments_for_ever(row, serve):
    timeout = Timeout(first_token=0.06, byte_idle=20, token_idle=20, total=60)
    error = row.fails_over(serve(close_delimited([COMMENTS])), ProviderTimeoutError, again=True, timeout=timeout)
    assert "first token" in str(error)


def test_fault_34_only_comments_as_fast_as_can_be(row, serve):
    timeout = Timeout(first_token=0.06, byte_idle=20, token_idle=20, total=60)
    error = row.fails_over(serve(close_delimited([Repeat(b": \n")])), ProviderTimeoutError, again=True, timeout=timeout)
    assert "first token" in str(error)


def test_fault_34_comments_feed_the_byte_clock_and_no_other(way, hub_of, serve):
    # More than the byte clock passes in comments; without them it would have run out.
    comments = [Drip(b": still here\n\n" * 3, 0.05)]
    server = serve(close_delimited([*events(*HELLO[:2]), *comments, *events(HELLO[2], STOP, done=True)]))
    stream = way.call(hub_of(a=server, timeout=Timeout(first_token=20, byte_idle=1.5, token_idle=20, total=60)), stream=True)
    assert "".join(way.read(stream)) == "Hello"


def test_fault_34_comments_after_the_first_token(row, serve):
    error = row.interrupts(serve(close_delimited([*events(*HELLO), COMMENTS])), ProviderTimeoutError, "Hello", timeout=QUIET)
    assert "token idle" in str(error.cause)


def test_fault_34_chunks_without_content_for_ever(row, serve):
    # Events without content: the first token has not come.
    script = close_delimited([Repeat([events(HELLO[0])[0], Drip(b":\n\n", 0.005)])])
    timeout = Timeout(first_token=0.06, byte_idle=20, token_idle=20, total=60)
    error = row.fails_over(serve(script), ProviderTimeoutError, again=True, timeout=timeout)
    assert "first token" in str(error)
