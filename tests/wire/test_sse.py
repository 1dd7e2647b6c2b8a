"""The decoder of server-sent events, compared with a short reader that gets the whole input at once."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
import tracemalloc
from collections.abc import Iterable

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providerhub.wire import ServerSentEvent, SSEDecoder, SSELimitError
from providerhub.wire._framing import EXCERPT

BOM = b"\xef\xbb\xbf"
NEWLINES = (b"\n", b"\r\n", b"\r")


@attrs.frozen
class Reading:
    """All that can be seen of a stream."""

    events: tuple[ServerSentEvent, ...]
    done: bool = False
    left: bool = False
    broken: str = ""


@attrs.frozen
class Limits:
    """The decoder's three limits."""

    line: int = 1 << 20
    event: int = 4 << 20
    stream: int = 64 << 20


def clean(raw: bytes) -> bytes:
    return raw.decode("utf-8", "replace").encode()


# The rules of the standard in one place, in its order.
def read_whole(raw: bytes, limits: Limits = Limits(), sentinel: bytes = b"[DONE]") -> Reading:  # noqa: C901, PLR0912
    """The rules, word for word, on the whole input; the yardstick of these tests."""
    events, data, event, last_id, retry = [], None, b"", "", None
    kept = raw[: limits.stream]
    *lines, tail = re.split(rb"\r\n|\r|\n", kept.removeprefix(BOM))
    for number, line in enumerate([*lines, tail]):
        if len(line) > limits.line and not BOM.startswith(kept):  # half a byte order mark is not a line yet
            return Reading(tuple(events), broken="line")
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if data is None and name == b"data" and value.strip() == sentinel:
            at_end = number == len(lines)
            if not at_end or len(raw) <= limits.stream:
                return Reading(tuple(events), done=True)
        if number == len(lines):
            break
        if line == b"":
            if data:
                events.append(ServerSentEvent(clean(data), clean(event).decode() or "message", last_id, retry))
            data, event = None, b""
        elif name == b"data":
            data = value if data is None else data + b"\n" + value
            if len(data) > limits.event:
                return Reading(tuple(events), broken="event")
        elif name == b"event":
            event = value
        elif name == b"id" and b"\0" not in value:
            last_id = clean(value).decode()
        elif name == b"retry" and re.fullmatch(rb"[0-9]{1,15}", value):
            retry = int(value)
    if len(raw) > limits.stream:
        return Reading(tuple(events), broken="stream")
    return Reading(tuple(events), left=bool(tail or event or data))


def pieces_of(raw: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    return [raw[start:end] for start, end in itertools.pairwise(at)]


def read(pieces: list[bytes], limits: Limits = Limits()) -> Reading:
    decoder = SSEDecoder(max_line=limits.line, max_event=limits.event, max_stream=limits.stream)
    events: list[ServerSentEvent] = []
    try:
        for piece in pieces:
            events += decoder.feed_events(piece)
        left = decoder.finish()
    except SSELimitError as error:
        return Reading(tuple(events), broken=error.limit)
    assert len(left) <= EXCERPT
    return Reading(tuple(events), done=decoder.done, left=bool(left))


def feed_all(decoder: SSEDecoder, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        decoder.feed(piece)


def payloads_until_broken(pieces: list[bytes], limits: Limits) -> tuple[list[bytes], str]:
    decoder = SSEDecoder(max_line=limits.line, max_event=limits.event, max_stream=limits.stream)
    seen: list[bytes] = []
    try:
        for piece in [*pieces, b""]:
            seen += decoder.feed(piece)
    except SSELimitError as error:
        return seen, error.limit
    return seen, ""


def payloads(pieces: list[bytes]) -> list[bytes]:
    decoder = SSEDecoder()
    return [payload for piece in pieces for payload in decoder.feed(piece)]


TOKENS = (
    b"data: ", b"data:", b"data", b"event: ", b"event", b"id: 7", b"id: \0", b"retry: 12", b"retry: x", b":", b" ", b"x",
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"[DONE]", b"data: [DONE]\n", BOM, b"\xef", b"\xff", b"\xe2\x80",
    "\u2028".encode(), "\x85".encode(), "é".encode(), b"data: {}\n\n", b"data: 1\n\ndata: 2\n\n", b"data: a\r\n\r\n", b": hi\n\n",
    b"unheard of\n", b"data: {}\n\n" * 60, b"data: {}\r\n\r\n" * 60, b"data: " + b"x" * 1500 + b"\n\n",
)  # fmt: skip
# Whole events. Some of them only look ordinary. The long events reach the code for long input.
ORDINARY = b"data: {}\n\n"
EVENTS = (
    ORDINARY, b"data: x\r\n\r\n", b"data: x\r\r", b"data: \n\n", b"data: \r\n\r\n", b"data: [DONE]\n\n", b"data:[DONE]\r\n",
    b"data: [DONE] \n\n",
    b"data: a\xffb\n\n", b"data: \xe2\n\n", "data: é\n\n".encode(), b"data: a\rdata: b\n\n", b"data: a\r\n\n", b"data: a\n\r\n",
    b"event: e\n", b"event: e\ndata: 1\n\n", b"id: 9\n", b"data: a\ndata: b\n\n", b"data: a\n", b": c\n", b"\n", b"\r",
    b"data: 12345678\n\n", ORDINARY * 60, b"data: {}\r\n\r\n" * 50, b"data: \xff\n\n" * 60, (ORDINARY * 30 + b"data: \n\n") * 2,
    ORDINARY * 60 + b"data: [DONE]\n\n" + ORDINARY,
    b"data: x\r\n\r\n" * 50 + b"data: a\rb\r\n\r\n",
    b"event: e\ndata: {}\n\n" * 40, b"event: \xff\ndata: \xff\n\n" * 40, b"event: \ndata: {}\n\n" * 40,
    b"event: e\ndata: {}\n\n" * 40 + b"event: f\ndata: \n\n", b"event: e\ndata: {}\n\n" * 40 + b"event: f\ndata: [DONE]\n\n",
    b"event: e\ndata: {}\n\n" * 40 + b"event: f\ndata: a\ndata: b\n\n", b"event: e\ndata: {}\n\n" * 40 + b"\nid: 4\ndata: c\n\n",
)  # fmt: skip
TOKEN_LISTS = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=6), max_size=24)
EVENT_LISTS = st.lists(st.sampled_from(EVENTS) | st.sampled_from(TOKENS), max_size=10)
STREAMS = (TOKEN_LISTS | EVENT_LISTS).map(b"".join)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@settings(deadline=None, max_examples=600)
@given(raw=STREAMS, cuts=CUTS)
@example(raw=b"data: [DONE]", cuts=[3])
@example(raw=BOM + b"data: x\r\n\r\n", cuts=[1, 2, 11, 12])
@example(raw=b"data: x\n\ndata: \xe2\x80\n\n", cuts=[])
@example(raw=b"data: a\n\n\n\ndata: b\n\n", cuts=[9])
def test_every_split_of_an_input_gives_the_same_events(raw: bytes, cuts: list[int]) -> None:
    expected = read_whole(raw)
    assert read(pieces_of(raw, cuts)) == expected
    assert read([raw]) == expected
    assert payloads(pieces_of(raw, cuts)) == [event.data for event in expected.events]


LIMITS = st.builds(Limits, line=st.integers(6, 30), event=st.integers(1, 9), stream=st.integers(1, 99) | st.just(1 << 20))


@settings(deadline=None, max_examples=800)
@given(pieces=EVENT_LISTS | EVENT_LISTS.map(lambda pieces: [ORDINARY, *pieces]), limits=st.just(Limits()) | LIMITS)
@example(pieces=[b"data: [DO", b"NE]\n\n" + ORDINARY * 60], limits=Limits())
@example(pieces=[ORDINARY, b"data: [DONE]\n\n", ORDINARY], limits=Limits())
@example(pieces=[ORDINARY * 60 + b"data: [DONE]\n\n" + ORDINARY], limits=Limits())
@example(pieces=[(ORDINARY * 30 + b"data: \n\n") * 2], limits=Limits())
@example(pieces=[b"data: x\r\n\r\n" * 50 + b"data: a\rb\r\n\r\n"], limits=Limits())
@example(pieces=[b"data: \xff\n\n" * 60], limits=Limits())
@example(pieces=[b"event: e\n", ORDINARY * 60], limits=Limits())
@example(pieces=[b"event: e\ndata: {}\n\n" * 40 + b"event: f\ndata: \n\n"], limits=Limits())
@example(pieces=[b"event: e\ndata: {}\n\n" * 40 + b"event: f\ndata: [DONE]\n\n", ORDINARY], limits=Limits())
@example(pieces=[b"event: e\ndata: {}\n\n" * 40 + b"event: f\ndata: a\ndata: b\n\n"], limits=Limits())
@example(pieces=[b"event: \xff\ndata: \xff\n\n" * 40, b"event: \ndata: {}\n\n" * 40], limits=Limits())
@example(pieces=[b"event: e\ndata: {}\n\n" * 40 + b"\nid: 4\ndata: c\n\n"], limits=Limits())
@example(pieces=[ORDINARY, b"data: \n\n", b"data: a\r\n\n", b"data: a\ndata: b\n"], limits=Limits())
@example(pieces=[ORDINARY] * 10, limits=Limits(stream=50))
@example(pieces=[b"data: 12345678\n\n", b"data: 1234567\ndata: 8\n\n"], limits=Limits(event=8))
@example(pieces=[ORDINARY, b"data: 123456789\n\n"], limits=Limits(event=8))
@example(pieces=[b"data: [DONE]\n" + b"x" * 50], limits=Limits(stream=20))
@example(pieces=[b"data: a\n", b"data: [DONE]"], limits=Limits())
def test_pieces_that_end_with_events_give_the_same_events(pieces: list[bytes], limits: Limits) -> None:
    raw = b"".join(pieces)
    expected = read_whole(raw, limits)
    assert read(pieces, limits) == expected
    assert read([raw], limits) == expected
    assert payloads_until_broken(pieces, limits) == ([event.data for event in expected.events], expected.broken)


@settings(deadline=None, max_examples=400)
@given(
    raw=STREAMS,
    cuts=CUTS,
    limits=st.builds(Limits, line=st.integers(1, 20), event=st.integers(1, 8), stream=st.integers(1, 60)),
)
@example(raw=b"data: 1\n\ndata: 23456\n\n", cuts=[], limits=Limits(line=8))
@example(raw=b"\xef\xbb\xbf", cuts=[], limits=Limits(line=1, stream=2))
@example(raw=b"\xef\xbb", cuts=[1], limits=Limits(line=1))
def test_limits_break_at_the_same_byte_however_the_input_is_split(raw: bytes, cuts: list[int], limits: Limits) -> None:
    expected = read_whole(raw, limits)
    assert read(pieces_of(raw, cuts), limits) == expected
    assert read([raw], limits) == expected


TEXTS = st.lists(
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), min_size=1), min_size=1, max_size=3
)


@settings(deadline=None, max_examples=60)
@given(events=st.lists(st.tuples(st.sampled_from(["", "ping", "delta"]), TEXTS), max_size=3), newline=st.sampled_from(NEWLINES))
def test_a_list_of_events_survives_every_newline_style_and_every_split(
    events: list[tuple[str, list[str]]], newline: bytes
) -> None:
    raw, expected = b"", []
    for name, lines in events:
        fields = [f"event: {name}"] if name else []
        raw += b"".join(field.encode() + newline for field in [*fields, *(f"data: {line}" for line in lines)]) + newline
        expected.append((name or "message", "\n".join(lines)))
    if any(text.partition("\n")[0].strip() == "[DONE]" for _, text in expected):
        return
    for cut in range(len(raw) + 1):
        reading = read([raw[:cut], raw[cut:]])
        assert [(event.event, event.text) for event in reading.events] == expected
        assert not reading.left
    assert [(event.event, event.text) for event in read([bytes([byte]) for byte in raw]).events] == expected


@settings(deadline=None, max_examples=100)
@given(cuts=CUTS, feeds_events=st.lists(st.booleans(), min_size=13, max_size=13))
def test_the_two_ways_to_read_share_one_state(cuts: list[int], feeds_events: list[bool]) -> None:
    raw = b'id: 3\ndata: {"a": 1}\n\ndata: two\ndata: lines\n\nevent: e\ndata: z\n\ndata: q\n\n'
    decoder, seen = SSEDecoder(), []
    for piece, as_events in zip(pieces_of(raw, cuts), feeds_events, strict=False):
        seen += [event.data for event in decoder.feed_events(piece)] if as_events else decoder.feed(piece)
    assert seen == [b'{"a": 1}', b"two\nlines", b"z", b"q"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b"data: a\n\n", [b"a"], id="one-leading-space-goes"),
        pytest.param(b"data:a\n\n", [b"a"], id="without-a-space"),
        pytest.param(b"data:  a \n\n", [b" a "], id="only-one-space-goes"),
        pytest.param(b"data: a\ndata: b\n\n", [b"a\nb"], id="lines-join-with-lf"),
        pytest.param(b"data: a\ndata\ndata: b\n\n", [b"a\n\nb"], id="field-without-colon"),
        pytest.param(b"data:\ndata: b\n\n", [b"\nb"], id="empty-first-line-joins-too"),
        pytest.param(b"data\n\ndata:\n\ndata: \n\ndata: a\n\n", [b"a"], id="empty-data-is-ignored"),
        pytest.param(b"event: x\n\nid: 1\n\n\n\n", [], id="nothing-without-data"),
        pytest.param(b": c\ndata: a\n:\n: d\n\n:\n\n", [b"a"], id="comments"),
        pytest.param(b"data: a\n", [], id="nothing-before-the-blank-line"),
        pytest.param(b"data: a\n\ndata: b", [b"a"], id="nothing-incomplete-at-the-end"),
        pytest.param(b"DATA: a\n\n data: b\n\n", [], id="field-names-are-exact"),
        pytest.param(BOM + b"data: a\n\n", [b"a"], id="a-bom-is-dropped"),
        pytest.param(BOM + BOM + b"data: a\n\ndata: b\n\n", [b"b"], id="but-only-one"),
        pytest.param(b"data: " + BOM + b"a\n\n", [BOM + b"a"], id="and-only-in-front"),
        pytest.param(b"data: a\r\rdata: b\r\r", [b"a", b"b"], id="cr-only"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"], id="crlf"),
        pytest.param(b"data: a\r\n\ndata: b\n\r\ndata: c\r\n\r", [b"a", b"b", b"c"], id="mixed"),
        pytest.param(
            "data: a\x85b\u2028c\u2029d\x0b\x0c\x1c\n\n".encode(), ["a\x85b\u2028c\u2029d\x0b\x0c\x1c".encode()], id="unicode"
        ),
        pytest.param(b"data: a\xff\xe2\x82b\n\n", ["a��b".encode()], id="invalid-utf-8"),
        pytest.param(b"data: a\xe2\n\ndata: \x82\xac\n\n", ["a�".encode(), "��".encode()], id="lf-is-never-eaten"),
        pytest.param(b"data: a\0b\n\n", [b"a\0b"], id="nul"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_reading_rules(raw: bytes, expected: list[bytes]) -> None:
    assert payloads([raw]) == expected
    assert payloads([bytes([byte]) for byte in raw]) == expected
    assert [event.data for event in read_whole(raw).events] == expected


def test_utf8_split_at_every_offset_is_intact() -> None:
    raw = "data: Привет, 世界 🎈\n\n".encode()
    for cut in range(len(raw) + 1):
        assert payloads([raw[:cut], raw[cut:]]) == ["Привет, 世界 🎈".encode()]


def test_named_events_carry_all_their_fields() -> None:
    raw = b"retry: 1500\nid: a\nevent: delta\ndata: 1\n\ndata: 2\n\nevent:\nid\ndata: 3\n\n"
    assert SSEDecoder().feed_events(raw) == [
        ServerSentEvent(b"1", "delta", "a", 1500),
        ServerSentEvent(b"2", "message", "a", 1500),
        ServerSentEvent(b"3", "message", "", 1500),
    ]


@pytest.mark.parametrize("value", [b"x", b"-1", b"1.5", b"", "٣".encode(), b"9" * 5000])
def test_a_retry_that_is_not_a_number_is_ignored(value: bytes) -> None:
    assert SSEDecoder().feed_events(b"retry: " + value + b"\ndata: 1\n\n") == [ServerSentEvent(b"1")]


@pytest.mark.parametrize(
    ("raw", "before"),
    [
        (b"data: [DONE]\n\n", []),
        (b"data: [DONE]\n", []),
        (b"data: [DONE]\r", []),
        (b"data:[DONE]\n", []),
        (b"data: [DONE] \n\n", []),
        (b"data: a\n\ndata:  \t[DONE]\t\r\n\r\n", [b"a"]),
        (ORDINARY * 60 + b"data: [DONE] \n\n" + ORDINARY, [b"{}"] * 60),
        (b"data: a\n\ndata: b\n\ndata: [DONE]\n\ndata: c\n\n", [b"a", b"b"]),
        (b"data: a\n\ndata: [DONE]\n\ndata: [DONE]\n\n", [b"a"]),
        (b"event: end\ndata: [DONE]\ngarbage", []),
    ],
)
def test_the_sentinel_ends_the_stream_without_its_blank_line(raw: bytes, before: list[bytes]) -> None:
    for pieces in ([raw], [bytes([byte]) for byte in raw]):
        decoder = SSEDecoder()
        assert [payload for piece in pieces for payload in decoder.feed(piece)] == before
        assert decoder.done
        assert decoder.feed(b"data: later\n\n") == []
        assert decoder.finish() == b""


def test_a_sentinel_without_any_line_end_counts_at_the_end_of_the_input() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n\ndata: [DONE]") == [b"a"]
    assert not decoder.done
    assert decoder.finish() == b""
    assert decoder.done
    assert decoder.finish() == b""


@pytest.mark.parametrize("name", [b"", b"event: end\n"])
def test_a_sentinel_may_be_an_object(name: bytes) -> None:
    body = (name + b"data: {}\n\n") * 60 + name + b'data: {"end": 1}\n\n'
    for pieces in ([body], [body[:300], body[300:-40], body[-40:]], [body[at : at + 10] for at in range(0, len(body), 10)]):
        decoder = SSEDecoder(sentinel=b'{"end": 1}')
        assert [event.data for piece in pieces for event in decoder.feed_events(piece)] == [b"{}"] * 60
        assert decoder.done
    single = SSEDecoder(sentinel=b'{"end": 1}')
    assert (single.feed(b"data: {}\n\n"), single.feed(b'data: {"end": 1}\n\n'), single.done) == ([b"{}"], [], True)


def test_a_sentinel_inside_an_event_is_data() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\ndata: [DONE]\n\n") == [b"a\n[DONE]"]
    assert not decoder.done


def test_without_a_sentinel_done_is_ordinary_data() -> None:
    decoder = SSEDecoder(sentinel=None)
    assert decoder.feed(b"data: [DONE]\n\n") == [b"[DONE]"]
    assert decoder.feed(b"data: [DONE]\n\ndata: a\n\ndata: [DONE]") == [b"[DONE]", b"a"]
    assert decoder.finish() == b"data: [DONE]"
    assert not decoder.done


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        (b"", b""),
        (b"data: a\n\n", b""),
        (b"data: a\r\r", b""),
        (BOM, b""),
        (BOM[:2], "�".encode()),
        (b": comment\n", b""),
        (b"data:\n", b""),
        (b"data: a", b"data: a"),
        (b"data: a\n", b"a"),
        (b"event: e\ndata: a\ndata: b\nda", b"event: e\na\nb\nda"),
        (b"x" * 10_000, b"x" * EXCERPT),
    ],
)
def test_finish_returns_the_incomplete_input(raw: bytes, left: bytes) -> None:
    decoder = SSEDecoder()
    assert decoder.feed(raw) == decoder.feed(b"") or raw.startswith(b"data: a")
    assert decoder.finish() == left
    assert decoder.finish() == left


def test_feed_after_finish_raises() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"data: a\n\n")
    decoder.finish()
    with pytest.raises(RuntimeError, match="after finish"):
        decoder.feed(b"data: a\n\n")


def test_lines_that_are_not_fields_are_kept_as_stray() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n\nThe model: `x` does not") == [b"a"]
    assert decoder.stray == b""
    assert decoder.feed(b" exist\r\n{}\n: comment\nid: 1\n\ndata: b\n\n") == [b"b"]
    assert decoder.stray == b"The model: `x` does not exist\n{}"
    decoder.feed((b"y" * 1000 + b"\n") * 10)
    assert len(decoder.stray) == EXCERPT


def test_the_error_of_a_limit_names_it_and_is_raised_again() -> None:
    for knob, limit, raw in (
        ("max_line", "line", b"data: 123456789\n\n"),
        ("max_event", "event", b"data: 123456\ndata: 7890\n\n"),
        ("max_stream", "stream", b"data: 1\n\n: 2\n"),
    ):
        decoder = SSEDecoder(**{knob: 10})
        for _ in range(2):
            with pytest.raises(SSELimitError, match=f"a {limit} is longer than its limit of 10 bytes") as caught:
                feed_all(decoder, itertools.repeat(raw, 2))
            assert (caught.value.limit, caught.value.maximum) == (limit, 10)
        with pytest.raises(SSELimitError):
            decoder.finish()
        with pytest.raises(SSELimitError):
            decoder.feed_events(b"")


def test_events_before_a_broken_limit_are_returned() -> None:
    decoder = SSEDecoder(max_line=20)
    assert decoder.feed(b"data: a\n\ndata: " + b"x" * 30) == [b"a"]
    with pytest.raises(SSELimitError):
        decoder.finish()


def test_the_limit_error_pickles_and_copies() -> None:
    error = SSELimitError("line", 10)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(twin), twin.limit, twin.maximum) == (str(error), "line", 10)


@pytest.mark.parametrize("knob", ["max_line", "max_event", "max_stream"])
def test_a_limit_below_one_is_refused(knob: str) -> None:
    with pytest.raises(ValueError, match=f"{knob} must be at least 1 byte, or None"):
        SSEDecoder(**{knob: 0})


def test_the_default_limits_hold() -> None:
    large = b"x" * (2 << 20)  # a generated image, as one event
    assert payloads([b"data: " + large, b"\n\n"]) == [large]
    for limit, piece in (
        ("line", b"x" * 65536),
        ("event", b"data: " + b"x" * 65530 + b"\n"),
        ("stream", b"data: " + b"x" * 65528 + b"\n\n"),
    ):
        # The limit of the whole stream is that of one line and one event.
        with pytest.raises(SSELimitError) as caught:
            feed_all(SSEDecoder(), itertools.repeat(piece, ((64 << 20) + 2 * len(piece)) // len(piece)))
        assert caught.value.limit in {limit, "stream"}


def test_limits_can_be_lifted() -> None:
    decoder = SSEDecoder(max_line=None, max_event=None, max_stream=None)
    for _ in range(33):
        assert decoder.feed(b"data: " + b"x" * 500_000 + b"\n") == []
        assert decoder.feed(b"data: " + b"y" * 1_600_000 + b"\n") == []
    (payload,) = decoder.feed(b"\n")
    assert len(payload) == 33 * 2_100_002 - 1
    line = b"data: " + b"z" * (8 << 20)
    assert [decoder.feed(line[at : at + 4096]) for at in range(0, len(line), 4096)] == [[]] * 2049
    assert decoder.feed(b"\n\n") == [line[6:]]


@pytest.mark.parametrize(
    "piece", [b"x", b"data: x\n", b"data\n", b": c\n", b"\n", b"q\n", b"data: x\n\n", b"event: e\r", b"\r\n"]
)
def test_memory_stays_flat_while_the_limits_hold(piece: bytes) -> None:
    decoder, chunk = SSEDecoder(max_line=1 << 14, max_event=1 << 16, max_stream=1 << 18), piece * 512
    tracemalloc.start()
    try:
        with pytest.raises(SSELimitError):
            feed_all(decoder, itertools.repeat(chunk, 10_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 19


def test_memory_stays_flat_when_all_comes_at_once() -> None:
    decoder, chunk = SSEDecoder(), b"q\n" * (1 << 17)
    tracemalloc.start()
    try:
        decoder.feed(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
