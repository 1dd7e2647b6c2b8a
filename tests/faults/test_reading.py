"""Rows 39-48 of the fault matrix: how a stream of events is read, however it was cut into pieces."""

import json

import pytest

from providerhub import ProtocolError
from providerhub.testing import Drip, Send, chunked, close_delimited, openai_chunk, response_head, sse

HELLO = [openai_chunk("Hel"), openai_chunk("lo")]
STOP = openai_chunk(finish_reason="stop")


def tiny(text):
    """A chunk as short as can be, so that every split of a stream can be tried."""
    return {"choices": [{"delta": {"content": text}}]}


def body_of(*chunks):
    return b"".join(sse(*chunks, {"choices": [{"finish_reason": "stop"}]}))


def every_split(way, hub_of, serve, body, text):
    """The body in two pieces, split at each offset, and then byte by byte: the same text each time."""
    scripts = [chunked([body[:place], body[place:]]) for place in range(1, len(body))]
    hub = hub_of(a=serve(*scripts, chunked([body[place : place + 1] for place in range(len(body))])))
    for _ in range(len(body)):
        assert way.answer(hub, stream=True).text == text


def reads(way, hub_of, serve, body, text, **headers):
    """The body at once, and byte by byte in segments of their own; gives the last answer."""
    server = serve(chunked([body], headers=headers), [*close_delimited([Drip(body)], headers=headers)])
    hub = hub_of(a=server)
    assert way.answer(hub, stream=True).text == text
    answer = way.answer(hub, stream=True)
    assert answer.text == text
    assert [attempt.outcome for attempt in answer.route.attempts] == ["ok"]
    return answer


def test_fault_39_utf8_split_at_every_offset(way, hub_of, serve):
    text = "é€😀\u0308"  # characters of two, three and four bytes, and a combining character
    every_split(way, hub_of, serve, body_of(tiny(text)), text)


def test_fault_39_utf8_split_between_segments(way, hub_of, serve):
    text = "Grüße, 世界 👩\u200d🚀"
    reads(way, hub_of, serve, body_of(tiny(text)), text)


@pytest.mark.parametrize("newline", [b"\r\n", b"\r"], ids=["CRLF", "CR"])
def test_fault_40_and_41_newline_split_at_every_offset(way, hub_of, serve, newline):
    every_split(way, hub_of, serve, body_of(tiny("a"), tiny("b")).replace(b"\n", newline), "ab")


def test_fault_40_cr_and_lf_split(way, hub_of, serve):
    body = body_of(tiny("a"), tiny("b")).replace(b"\n", b"\r\n")
    pieces = [part + b"\r" for part in body.split(b"\r")[:-1]]
    server = serve(chunked([piece for piece in pieces if piece], headers={}))
    assert way.answer(hub_of(a=server), stream=True).text == "ab"


def test_fault_40_newlines_of_every_kind_in_one_stream(way, hub_of, serve):
    chunks = [json.dumps(tiny(letter)).encode() for letter in "abc"]
    body = b"".join(b"data: " + chunk + end for chunk, end in zip(chunks, (b"\r\n\n", b"\r\r", b"\n\r\n"), strict=True))
    reads(way, hub_of, serve, body + b"data: [DONE]\r\n\r\n", "abc")


def test_fault_41_cr_only(way, hub_of, serve):
    reads(way, hub_of, serve, body_of(*HELLO).replace(b"\n", b"\r"), "Hello")


@pytest.mark.parametrize("sign", ["\u0085", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1e", "\xa0", "\x00", "\r", "\n"])
def test_fault_42_line_separators_in_text(way, hub_of, serve, sign):
    # Unchanged if JSON allows it, else escaped.
    reads(way, hub_of, serve, body_of(tiny(f"a{sign}b"), tiny(sign)), f"a{sign}b{sign}")


def test_fault_42_the_words_of_the_wire_in_text(way, hub_of, serve):
    text = "data: [DONE]\n\ndata: {}\r\n: event: error"
    reads(way, hub_of, serve, body_of(tiny(text)), text)


BOM = b"\xef\xbb\xbf"


def test_fault_43_byte_order_mark(way, hub_of, serve):
    every_split(way, hub_of, serve, BOM + body_of(tiny("a")), "a")


def test_fault_43_byte_order_mark_in_text(way, hub_of, serve):
    reads(way, hub_of, serve, body_of(tiny("a\ufeffb"), tiny("\ufeff")), "a\ufeffb\ufeff")


def test_fault_43_byte_order_mark_is_dropped_once(way, hub_of, serve):
    # The second mark is part of an unknown field's name, so the decoder ignores this line.
    body = BOM + BOM + b"data: " + json.dumps(tiny("no")).encode() + b"\n\n" + body_of(tiny("yes"))
    reads(way, hub_of, serve, body, "yes")


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (b"a\xffb", "a\ufffdb"),
        (b"\xc3", "\ufffd"),
        (b"\xe2\x82", "\ufffd"),
        (b"\xf0\x9f\x98x", "\ufffdx"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xc0\xaf", "\ufffd\ufffd"),
    ],
)
def test_fault_44_invalid_utf8(way, hub_of, serve, raw, read):
    body = body_of(tiny("ab"), tiny("@")).replace(b"@", raw)
    reads(way, hub_of, serve, body, f"ab{read}")


def test_fault_44_invalid_utf8_in_a_whole_answer(way, hub_of, serve):
    body = b'{"choices":[{"message":{"content":"a\xffb"},"finish_reason":"stop"}]}'
    head = response_head(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    assert way.answer(hub_of(a=serve([head, body])), stream=False).text == "a\ufffdb"


NOT_JSON = [b"{", b"hello", b'{"choices":', b"[1, 2]", b"5", b'"text"', b"null", b"true", b"{'choices': []}", b"NaN", b"[DONE"]


@pytest.mark.parametrize("data", NOT_JSON)
def test_fault_45_event_that_is_not_json(row, serve, data):
    row.fails_over(serve(chunked(sse(data, *HELLO, STOP))), ProtocolError, again=False)


@pytest.mark.parametrize("data", NOT_JSON)
def test_fault_45_event_that_is_not_json_after_the_first_token(row, serve, data):
    row.interrupts(serve(chunked(sse(*HELLO, data, STOP))), ProtocolError, "Hello")


def test_fault_45_event_of_a_strange_shape(row, serve):
    for chunk in ({"choices": 5}, {"choices": ["x"]}, {"choices": [{"delta": "x"}]}, {"choices": [{"delta": {"content": 5}}]}):
        row.interrupts(serve(chunked(sse(*HELLO, chunk, STOP))), ProtocolError, "Hello")


def test_fault_45_event_nested_too_deep(row, serve):
    row.interrupts(serve(chunked(sse(*HELLO, b'{"a":' * 100_000, STOP))), ProtocolError, "Hello")


def test_fault_45_excerpt_without_the_key(row, serve, canary):
    error = row.fails_over(serve(chunked(sse(f"nonsense {canary}" + "x" * 5000))), ProtocolError, again=False)
    assert error.excerpt.startswith("nonsense ***xxx")
    assert len(error.excerpt) <= 500


@pytest.mark.parametrize("empty", [b"data:\n\n", b"data: \n\n", b"data\n\n", b"data:\r\n\r\n"])
def test_fault_46_empty_data(way, hub_of, serve, empty):
    first, second = sse(*HELLO, done=False)
    reads(way, hub_of, serve, empty + first + empty + second + empty + body_of(), "Hello")


@pytest.mark.parametrize("event", [b"event: ping\n\n", b"id: 5\n\n", b"retry: 10\n\n", b"event: error\n\n", b"\n\n\n", b":\n\n"])
def test_fault_47_event_without_data(way, hub_of, serve, event):
    first, second = sse(*HELLO, done=False)
    reads(way, hub_of, serve, event + first + event + second + event + body_of(), "Hello")


@pytest.mark.parametrize("kind", ["text/plain", "text/html; charset=utf-8", "application/json", "application/x-ndjson"])
def test_fault_48_wrong_content_type(way, hub_of, serve, kind):
    answer = reads(way, hub_of, serve, body_of(*HELLO), "Hello", **{"Content-Type": kind})
    (note,) = answer.route.attempts[0].notes
    assert "content type" in note
    assert kind in note


def test_fault_48_no_content_type(way, hub_of, serve):
    server = serve([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", *close_delimited([body_of(*HELLO)])[1:]])
    assert way.answer(hub_of(a=server), stream=True).text == "Hello"


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "nonsense"])
def test_fault_48_wrong_charset(way, hub_of, serve, charset):
    # Server-sent events are UTF-8, even if the header names another encoding.
    kind = f"text/event-stream; charset={charset}"
    reads(way, hub_of, serve, body_of(tiny("Grüße")), "Grüße", **{"Content-Type": kind})


def test_fault_39_utf8_in_thousands_of_http_chunks(way, hub_of, serve):
    words = [f" wörd{number}" for number in range(3000)]
    body = body_of(*map(tiny, words))
    script = chunked([body[place : place + 7] for place in range(0, len(body), 7)])
    server = serve([Send(b"".join(step.data for step in script))])
    hub = hub_of(a=server)
    assert way.answer(hub, stream=True).text == "".join(words)
    assert server.connected == 1
