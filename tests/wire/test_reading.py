"""Framings and readers: the cuts between reads never change the meaning of an answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providerhub import (
    CallContext,
    Citation,
    EmptyAnswerError,
    Finish,
    ModelUnavailableError,
    ProtocolError,
    ProviderError,
    RateLimitError,
    ReasoningDelta,
    RefusalDelta,
    Timeout,
    ToolCallDelta,
)
from providerhub.wire import ArrayDecoder, JsonReading, LineDecoder, SSEDecoder

OBJECTS = [{"text": 'a"b\\'}, {"text": "{[]}é\u2028", "more": [{"x": {}}, []]}, {"text": "c", "end": "stop"}]


def sse(*objects):
    return b"".join(b"data: %b\n\n" % json.dumps(item).encode() for item in objects)


def lines(*objects):
    return b"".join(b"%b\r\n" % json.dumps(item).encode() for item in objects)


def array(*objects):
    return b"[" + b",\r\n".join(json.dumps(item, indent=1).encode() for item in objects) + b"\n]"


FRAMINGS = {"sse": (SSEDecoder, sse), "lines": (LineDecoder, lines), "array": (ArrayDecoder, array)}


class Reader(JsonReading):
    def event(self, data, name):
        if not isinstance(data.get("text"), str):
            raise ProtocolError("no text")
        yield data["text"]
        if data.get("end"):
            yield Finish(data["end"])

    def oddity(self, data):
        return ModelUnavailableError("gone") if data.startswith(b"gone") else None


def reader(framing, **fields):
    kind = type("OwnReader", (Reader,), {"frames": framing, **fields})
    return kind(CallContext(Timeout()), {"content-type": ""})


def read(reading, *reads):
    found = []
    for data in reads:
        if not reading.done:
            found += reading.feed(data)
    return found + list(reading.end())


def handed(reading, *reads):
    """What was handed over, and the error that ended it."""
    found = []
    try:
        for data in reads:
            for piece in reading.feed(data):
                found.append(piece)  # noqa: PERF402 -- what came before the error counts
        for piece in reading.end():
            found.append(piece)  # noqa: PERF402 -- as above
    except ProviderError as error:
        return found, error
    return found, None


@pytest.fixture(params=FRAMINGS)
def framing(request):
    return FRAMINGS[request.param]


def cut(body, places):
    places = sorted({place % (len(body) + 1) for place in places})
    return [part for start, end in zip([0, *places], [*places, len(body)], strict=True) if (part := body[start:end])]


@given(places=st.lists(st.integers(0, 1000), max_size=8), bom=st.booleans(), blank=st.sampled_from([b"", b"\n", b" \r\n"]))
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("name", FRAMINGS)
def test_reads_may_be_cut_anywhere(name, places, bom, blank):
    decoder, write = FRAMINGS[name]
    body = (b"\xef\xbb\xbf" if bom else b"") + (b"" if name == "sse" and b" " in blank else blank) + write(*OBJECTS)
    expected = [*(item["text"] for item in OBJECTS), Finish("stop")]
    assert read(reader(decoder), *cut(body, places)) == expected


def test_a_stream_that_is_cut_is_never_an_answer(framing):
    decoder, write = framing
    body = write(*OBJECTS)
    whole = len(body.rstrip(b"\r\n ]"))
    for end in range(whole):
        found, error = handed(reader(decoder), *([body[:end]] if end else []))
        assert isinstance(error, ProtocolError | EmptyAnswerError)
        assert Finish("stop") not in found


def test_text_before_a_broken_frame_in_the_same_read_is_handed_over(framing):
    decoder, write = framing
    body = write(OBJECTS[0], OBJECTS[1]).replace(b'"text": "{', b'"text": {{"')
    found, error = handed(reader(decoder), body)
    assert isinstance(error, ProtocolError)
    assert found == [OBJECTS[0]["text"]]


@pytest.mark.parametrize("place", [0, 1])
def test_an_error_in_a_frame_is_raised_with_its_class(framing, place):
    decoder, write = framing
    error = {"error": {"message": "slow down", "code": 429}}
    with pytest.raises(RateLimitError):
        list(reader(decoder).feed(write(*OBJECTS[:place], error, *OBJECTS[1:])))


@pytest.mark.parametrize("reads", [1, 2])
def test_one_object_in_place_of_a_stream_is_an_answer(framing, reads):
    body = json.dumps({"text": "whole", "end": "stop"}, indent=2).encode()
    parts = [body] if reads == 1 else [body[:7], body[7:]]
    assert read(reader(framing[0]), b"\xef\xbb\xbf", *parts) == ["whole", Finish("stop")]


def test_one_object_may_have_a_shape_of_its_own(framing):
    reading = reader(framing[0], whole=lambda self, data: [data["answer"]])
    assert read(reading, b'{"answer":\n"x"}') == ["x"]


@pytest.mark.parametrize("error", [{"error": "slow down"}, {"message": "Too many requests", "code": 429}, {"type": "error"}])
def test_an_error_in_place_of_a_stream_is_raised_at_once(framing, error):
    reading = reader(framing[0])
    with pytest.raises(ProviderError):
        list(reading.feed(json.dumps(error).encode()))


def test_an_error_object_that_comes_in_two_reads_is_raised_before_the_end(framing):
    reading, body = reader(framing[0]), b'{"error":\n {"message": "slow", "code": 429}}'
    assert list(reading.feed(body[:20])) == []
    with pytest.raises(RateLimitError):
        list(reading.feed(body[20:]))


@pytest.mark.parametrize("text", [b"<html>no</html>\n", b"gone fishing\n", b"[1, 2]\n"])
def test_text_in_place_of_a_stream_is_an_error(framing, text):
    kind = ModelUnavailableError if text.startswith(b"gone") else ProtocolError
    with pytest.raises(kind):
        read(reader(framing[0]), text)


@pytest.mark.parametrize("body", [[], [b"\n"], [b"\xef\xbb\xbf"]])
def test_nothing_is_an_empty_answer(framing, body):
    with pytest.raises(EmptyAnswerError):
        read(reader(framing[0]), *body)


def test_the_wrong_content_type_is_noted_once(framing):
    decoder, write = framing
    call = CallContext(Timeout())
    reading = type("OwnReader", (Reader,), {"frames": decoder})(call, {"content-type": "text/plain"})
    read(reading, write(*OBJECTS))
    assert call.notes == ["the stream came with the content type 'text/plain'"]


def test_an_end_mark_without_a_reason_is_noted():
    reading = reader(SSEDecoder)
    assert read(reading, sse({"text": "a"}) + b"data: [DONE]\n\n") == ["a"]
    assert "no finish_reason" in reading.call.notes[0]


class Ending(Reader):
    """Sets the end mark itself."""

    def event(self, data, name):
        yield from super().event(data, name)
        self.done = "end" in data


def test_what_follows_the_end_mark_is_surplus(framing):
    decoder, write = framing
    reading = type("OwnReader", (Ending,), {"frames": decoder})(CallContext(Timeout()), {})
    assert read(reading, write(*OBJECTS, {"text": "never"}))[-1] == Finish("stop")
    assert reading.surplus


def test_a_stream_may_wait_a_moment_for_what_follows_its_end():
    reading = reader(LineDecoder, trailing=0.5)
    list(reading.feed(lines(OBJECTS[0])))
    assert reading.linger is None
    list(reading.feed(lines(OBJECTS[2])))
    assert reading.linger == 0.5
    assert list(reading.feed(lines({"text": "behind"}))) == ["behind"]


def test_the_name_of_an_event_reaches_the_reader():
    names = []
    reading = reader(SSEDecoder, event=lambda self, data, name: names.append(name) or [])
    list(reading.feed(b"event: start\ndata: {}\n\ndata: {}\n\n"))
    assert names == ["start", "message"]


def test_an_event_of_the_name_error_is_one():
    for said in (b'{"note": "odd"}', b"odd"):
        with pytest.raises(ProviderError, match="odd"):
            list(reader(SSEDecoder).feed(b"event: error\ndata: %b\n\n" % said))


@pytest.mark.parametrize("line", [b'{"error": {"message": "odd"}}', b'x\n{\n"error": "odd"\n}', b'{"error": "odd"}\ndata: x'])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_bare_error_between_events_is_one(line, end):
    with pytest.raises(ProviderError, match="odd") as caught:
        read(reader(SSEDecoder), sse(OBJECTS[0]), line + end)
    assert type(caught.value) is not ProtocolError


CUT = ["a\ud83d", "\ude00b", "c", "\ud83d\ude00", "\ud83d"]
"""Texts of one channel, two of which share a character."""
WHOLE = ["a", "😀b", "c", "😀", "\ud83d"]
OTHER = {"citation": Citation("https://a.example"), "end": Finish("stop")}


@pytest.mark.parametrize("name", ["sse", "lines"])
@pytest.mark.parametrize("make", [str, ReasoningDelta, RefusalDelta, lambda text: ToolCallDelta(1, arguments=text)], ids=range(4))
def test_the_halves_of_a_character_are_joined_in_each_channel(name, make):
    framing, written = FRAMINGS[name]
    body = written(*({"text": text} for text in CUT), {"other": "citation"}, {"other": "end"})

    def said(self, data, name):
        return [make(data["text"]) if "text" in data else OTHER[data["other"]]]

    found = read(reader(framing, event=said), body)
    texts = [piece for piece in found if piece not in OTHER.values()]
    assert [text for text in texts if text not in {"", make("")}] == list(map(make, WHOLE))
    assert [piece for piece in found if piece in OTHER.values()] == list(OTHER.values())


def test_halves_of_several_channels_are_kept_apart():
    calls = [(0, "\ud83d"), (1, "\ud83c"), (0, "\ude00"), (1, "\udf0d")]

    def said(self, data, name):
        return [ToolCallDelta(data["call"][0], arguments=data["call"][1])]

    body = sse(*({"call": call} for call in calls))
    found = list(reader(SSEDecoder, event=said).feed(body))
    assert {n: "".join(one.arguments for one in found if one.index == n) for n in (0, 1)} == {0: "😀", 1: "🌍"}


def test_a_bare_error_after_a_complete_answer_changes_nothing():
    assert read(reader(SSEDecoder), sse(*OBJECTS), b'{"error": "odd"}\n') == read(reader(SSEDecoder), sse(*OBJECTS))


@pytest.mark.parametrize(
    ("decoder", "body", "whole"),
    [
        (LineDecoder(max_line=10), b'{}\n{"a": "' + b"x" * 20, b"{}"),
        (ArrayDecoder(max_object=10), b'[{}, {"a": "' + b"x" * 20 + b'"}]', b"{}"),
        (ArrayDecoder(), b"[{}, 5]", b"{}"),
    ],
)
def test_a_broken_framing_raises_after_the_frames_before_it(decoder, body, whole):
    assert [frame.data for frame in decoder.feed_events(body)] == [whole]
    with pytest.raises(ValueError, match=r"limit|in place of an object"):
        decoder.feed_events(b" ")


def test_a_broken_array_raises_at_its_end_too():
    decoder = ArrayDecoder()
    decoder.feed_events(b"[{}, 5]")
    with pytest.raises(ValueError, match="in place of an object"):
        decoder.finish()


def test_a_broken_framing_is_a_protocol_error():
    with pytest.raises(ProtocolError, match="in place of an object"):
        read(reader(ArrayDecoder), b'[{"text": "a"}', b", 5]")


@pytest.mark.parametrize("first", [b'{"text": "x', b'{"text"\n'])
def test_a_broken_first_line_is_found_at_the_second(first):
    with pytest.raises(ProtocolError):
        list(reader(LineDecoder).feed(first.strip() + b"\n" + lines(*OBJECTS)))


def test_a_long_first_line_is_not_held_back_for_ever():
    reading, text = reader(LineDecoder), "x" * 300_000
    body = lines({"text": text, "end": "stop"})
    assert read(reading, *(body[at : at + 4096] for at in range(0, len(body), 4096))) == [text, Finish("stop")]


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("more", [b'\ndata: {"text": "a"}\n\n', b"\nwords", b"<html>"])
def test_bytes_after_an_error_object_do_not_hide_it(more, listed):
    found = {"error": {"message": "slow down", "type": "rate_limit_error"}}
    error = json.dumps([found] if listed else found, indent=2).encode()
    for reads in ((error, more), (error + more,), *((error[:at], error[at:] + more) for at in range(1, len(error)))):
        with pytest.raises(RateLimitError, match="slow down"):
            read(reader(SSEDecoder), *reads)


def test_bytes_after_any_other_object_are_no_answer():
    for more in (b"\nwords", b"{"):
        with pytest.raises(ProtocolError):
            read(reader(SSEDecoder), b'{"text": "a", "end": "stop"}' + more)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_field_that_no_standard_knows_changes_nothing_wherever_it_is_cut(place):
    frames = [sse(item) for item in OBJECTS]
    frames[place] = b"trace: 7\n" + frames[place]
    body = b"".join(frames)
    wanted = read(reader(SSEDecoder), sse(*OBJECTS))
    assert read(reader(SSEDecoder), *frames) == wanted
    for at in range(1, len(body)):
        assert read(reader(SSEDecoder), body[:at], body[at:]) == wanted
