"""Rows 35-37 of the fault matrix: lines, events, streams and compressed bodies without end."""

import gzip
import json
import tracemalloc
import zlib

import pytest

from providerhub import EmptyAnswerError, ProtocolError, ServerError
from providerhub.testing import (
    Hold,
    Repeat,
    chunked,
    close_delimited,
    http_response,
    openai_chunk,
    openai_completion,
    response_head,
    sse,
)
from providerhub.wire import SSEDecoder

MIB = 1024 * 1024
HELLO = [openai_chunk("Hel"), openai_chunk("lo")]
STOP = openai_chunk(finish_reason="stop")


@pytest.fixture
def peak(way, hub_of, good):
    """`peak()` gives the most bytes that Python objects have taken up at once since the last time it was asked."""
    way.answer(hub_of(a=good), stream=True)  # the imports of the first call are not measured
    tracemalloc.start()
    tracemalloc.reset_peak()

    def since():
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        return most

    yield since
    tracemalloc.stop()


@pytest.fixture
def limit(line, monkeypatch):
    """The longest line in bytes: for an ordinary line as it is, for the others less, as 64 MiB take a second each."""
    if line == b"data: ":
        return 64 * MIB
    monkeypatch.setitem(SSEDecoder.__init__.__kwdefaults__, "max_line", 4 * MIB)
    return 4 * MIB


@pytest.mark.parametrize("line", [b"x", b"data: ", b": ", b'data: {"choices":[{"delta":{"content":"', b"\xff"])
def test_fault_35_line_without_end(row, serve, line, limit):
    server = serve(close_delimited([line, Repeat(b"x")]))
    error = row.fails_over(server, ProtocolError, again=False)
    assert str(limit) in str(error).replace(",", "")


@pytest.mark.parametrize("line", [b"x", b"data: ", b": ", b'data: {"choices":[{"delta":{"content":"'])
def test_fault_35_line_without_end_after_the_first_token(row, serve, line, limit):
    server = serve(close_delimited([*sse(*HELLO, done=False), line, Repeat(b"x")]))
    error = row.interrupts(server, ProtocolError, "Hello")
    assert str(limit) in str(error.cause).replace(",", "")


def test_fault_35_line_without_end_takes_no_memory(way, hub_of, serve, peak):
    server = serve(close_delimited([b"data: ", Repeat(b"x")]))
    way.fails(hub_of(a=server), ProtocolError, stream=True)
    # The line itself, in a buffer of up to twice its size, and the bytes in the system's buffers.
    assert peak() < 140 * MIB
    # The line was not read to its end; its rest filled the buffers of the system.
    assert server.connections[0].sent < 96 * MIB


def test_fault_35_longest_line_that_is_allowed(way, hub_of, serve):
    text = "x" * (4 * MIB)
    server = serve(chunked(sse(openai_chunk(text), STOP)))
    assert way.answer(hub_of(a=server), stream=True).text == text


EVENT = [b"data: ", b"x" * 100_000, b"\n"]


def test_fault_36_event_without_end(row, serve):
    server = serve(close_delimited([Repeat(b"".join(EVENT))]))
    assert "67108864" in str(row.fails_over(server, ProtocolError, again=False)).replace(",", "")


def test_fault_36_event_without_end_after_the_first_token(row, serve):
    server = serve(close_delimited([*sse(*HELLO, done=False), Repeat(b"".join(EVENT))]))
    assert "67108864" in str(row.interrupts(server, ProtocolError, "Hello").cause).replace(",", "")


def test_fault_36_event_without_end_takes_no_memory(way, hub_of, serve, peak):
    server = serve(close_delimited([Repeat(b"".join(EVENT))]))
    way.fails(hub_of(a=server), ProtocolError, stream=True)
    assert peak() < 140 * MIB


COMMENTS = Repeat(b": " + b"x" * 65_000 + b"\n")


def test_fault_36_stream_without_end(way, hub_of, serve, good):
    answer = way.answer(hub_of(a=serve(close_delimited([COMMENTS])), b=good), stream=True)
    first = answer.route.attempts[0].error
    assert (type(first), answer.provider) == (ProtocolError, "b")
    assert "67108864" in str(first)


def test_fault_36_stream_without_end_takes_no_memory(way, hub_of, serve, peak):
    server = serve(close_delimited([Repeat(b": " + b"x" * 1_000_000 + b"\n", 80)]))
    error = way.fails(hub_of(a=server), ProtocolError, stream=True)
    assert "67108864" in str(error)
    assert peak() < 6 * MIB


def test_fault_36_stream_without_end_after_the_first_token(row, hub_of, serve):
    hub = hub_of(a=serve(close_delimited([*sse(*HELLO, done=False), COMMENTS])))
    error = row.interrupted(hub, ProtocolError, "Hello")
    assert "67108864" in str(error.cause)


@pytest.mark.parametrize("length", [[], ["Content-Length"]], ids=["close-delimited", "announced"])
def test_fault_36_whole_answer_without_end(way, hub_of, serve, good, length):
    head = {"Content-Type": "application/json", **dict.fromkeys(length, str(10**12))}
    server = serve([response_head(headers=head), Repeat(b" ")])
    answer = way.answer(hub_of(a=server, b=good), stream=False)
    first = answer.route.attempts[0].error
    assert (type(first), answer.provider) == (ProtocolError, "b")
    assert "67108864" in str(first)


def bomb(start=b""):
    """200 KB that grow to 203 MiB: `start`, then blanks."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush, equal input gives equal output, so one block can be repeated.
    block = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    return gzip.compress(b"")[:10] + head + block * 203


def packed(body, kind, end=()):
    return [response_head(headers={"Content-Type": kind, "Content-Encoding": "gzip"}), body, *end]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_fault_37_gzip_bomb(way, hub_of, serve, good, peak, stream):
    server = serve(packed(bomb(), "text/event-stream" if stream else "application/json", [Hold()]))
    hub = hub_of(a=server, b=good)
    answer = way.answer(hub, stream=stream)
    first = answer.route.attempts[0].error
    assert (type(first), answer.provider) == (ProtocolError, "b")
    # A whole answer, and one line of a stream, are collected up to the limit of 64 MiB.
    assert peak() < 140 * MIB
    assert {request.header("Accept-Encoding") for request in server.requests} == {"identity"}


def test_fault_37_gzip_bomb_in_an_error(row, serve):
    body = bomb()
    server = serve([response_head(502, {"Content-Encoding": "gzip", "Content-Length": str(len(body))}), body])
    row.fails_over(server, ServerError, again=True)


def test_fault_37_an_error_in_an_unknown_coding_keeps_its_status(row, serve):
    row.fails_over(serve(http_response(502, b"packed", {"Content-Encoding": "br"})), ServerError, again=True)


def test_fault_37_gzip_bomb_after_the_first_token(row, hub_of, serve):
    body = bomb(b"".join(sse(*HELLO, done=False)))
    hub = hub_of(a=serve(packed(body, "text/event-stream", [Hold()])))
    row.interrupted(hub, ProtocolError, "Hello")


def test_fault_37_gzip_that_nobody_asked_for_is_understood(way, hub_of, serve):
    body = gzip.compress(b"".join(sse(*HELLO, STOP)))
    whole = gzip.compress(json.dumps(openai_completion("Hello")).encode())
    for script, stream in (
        (packed(body, "text/event-stream", [Hold()]), True),
        (close_delimited([body], headers={"Content-Encoding": "gzip"}), True),
        (chunked([body[:20], body[20:]], headers={"Content-Encoding": "gzip"}), True),
        (http_response(200, whole, {"Content-Encoding": "gzip"}), False),
    ):
        assert way.answer(hub_of(a=serve(script)), stream=stream).text == "Hello"


@pytest.mark.parametrize("damage", ["cut", "garbage", "no gzip at all"])
def test_fault_37_gzip_that_is_damaged(row, serve, damage):
    body = gzip.compress(b"".join(sse(*HELLO, STOP)))
    broken = {"cut": body[:12], "garbage": body[:20] + b"\xff" * 50, "no gzip at all": b"data: {}\n\n"}[damage]
    error = EmptyAnswerError if damage == "cut" else ProtocolError
    row.fails_over(serve(close_delimited([broken], headers={"Content-Encoding": "gzip"})), error, again=False)
