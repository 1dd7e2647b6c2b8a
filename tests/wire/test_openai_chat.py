"""The OpenAI chat shape: the body of each request, and the pieces of each chunk and answer, by every reader."""

from __future__ import annotations

import json
from functools import partial

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providerhub import (
    Detail,
    Finish,
    ModelUnavailableError,
    ProtocolError,
    ProviderError,
    RateLimitError,
    ReasoningDelta,
    RefusalDelta,
    Request,
    ServerError,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from providerhub.wire import _json, openai_chat
from providerhub.wire._chat_answer import ChatAnswer
from providerhub.wire._chunk_reader import ChunkReader, Template
from providerhub.wire.sse import ErrorData

HELLO = [{"role": "user", "content": "Hello"}]


def delta(finish=None, /, **fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def call(index=None, identifier=None, name=None, arguments=None, **more):
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    outer = {key: value for key, value in (("index", index), ("id", identifier)) if value is not None}
    return {**outer, "function": function, **more}


def usage(others=None, **counts):
    return UsageDelta(Usage(**counts, others=others or {}))


def streamed(*chunks):
    """Return the pieces of a stream, what its end says included."""
    answer = ChatAnswer()
    return [piece for chunk in chunks for piece in answer.pieces(chunk)] + list(answer.end())


# --- requests ----------------------------------------------------------------------------------------------------------

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
PICTURE = [{"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]}]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, {}),
        ({"stream": True}, {"stream": True}),
        ({"temperature": 0.0, "max_tokens": 5, "seed": 0}, {"temperature": 0.0, "max_tokens": 5, "seed": 0}),
        ({"stop": ("a", "b")}, {"stop": ["a", "b"]}),
        ({"tools": TOOLS, "tool_choice": "required"}, {"tools": TOOLS, "tool_choice": "required"}),
        ({"response_format": SCHEMA}, {"response_format": SCHEMA}),
        ({"messages": PICTURE}, {"messages": PICTURE}),
        ({"options": {"top_p": 1, "reasoning_effort": "low"}}, {"top_p": 1, "reasoning_effort": "low"}),
        ({"temperature": 1.0, "options": {"temperature": None}}, {"temperature": None}),
    ],
    ids=lambda value: ",".join(value) or "nothing",
)
def test_a_request_contains_only_the_caller_s_fields(asked, said):
    assert openai_chat.request_body(Request(**{"model": "m", "messages": HELLO, **asked})) == {
        "model": "m",
        "messages": HELLO,
        **said,
    }


# --- chunks ------------------------------------------------------------------------------------------------------------

CHUNKS = {
    "text": (delta(content="Hi"), ["Hi"]),
    "empty text": (delta(content=""), []),
    "role alone": (delta(role="assistant", content="", refusal=None), []),
    "nothing": (delta(), []),
    "null delta": ({"choices": [{"delta": None}]}, []),
    "null everything": (
        delta(content=None, reasoning_content=None, reasoning=None, refusal=None, tool_calls=None, function_call=None),
        [],
    ),
    "text among nulls": (delta(content="x", reasoning=None, tool_calls=[], refusal="", reasoning_content=""), ["x"]),
    "text with extra fields": (
        {**delta(content="x", audio={"a": 1}), "id": 7, "provider": ["p"], "x": {"y": [0.5]}},
        ["x", Detail("id", "7"), Detail("served_by", ["p"]), Detail("audio", {"a": 1}), Detail("x", {"y": [0.5]})],
    ),
    "text with empty fields": (
        {
            **delta(content="x", audio={"id": "", "data": ""}, annotations=[]),
            "id": "",
            "citations": None,
            "x": {"y": [], "z": None},
        },
        ["x"],
    ),
    "missing index": ({"choices": [{"delta": {"content": "x"}}]}, ["x"]),
    "null index": ({"choices": [{"index": None, "delta": {"content": "x"}}]}, ["x"]),
    "index as text": ({"choices": [{"index": "0", "delta": {"content": "x"}}]}, ["x"]),
    "another answer": (
        {"choices": [{"index": 1, "delta": {"content": "not this"}, "finish_reason": "stop"}]},
        [Detail("choices", [{"index": 1, "finish_reason": "stop", "message": {"content": "not this"}}])],
    ),
    "two answers": (
        {"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "x"}}]},
        ["x", Detail("choices", [{"index": 1, "message": {"content": "no"}}])],
    ),
    "no choices": ({}, []),
    "null choices": ({"choices": None}, []),
    "empty choices": ({"choices": [], "prompt_filter_results": []}, []),
    "verdicts before the answer": (
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        [Detail("safety", {"prompt_filter_results": [{"prompt_index": 0}]})],
    ),
    "reasoning_content": (delta(reasoning_content="Hm"), [ReasoningDelta("Hm")]),
    "reasoning": (delta(reasoning="Hm", content=None), [ReasoningDelta("Hm")]),
    "both kinds of reasoning": (delta(reasoning="no", reasoning_content="Hm"), [ReasoningDelta("Hm")]),
    "reasoning as an object": (
        delta(reasoning={"effort": "low"}, content="x"),
        ["x", Detail("reasoning", {"effort": "low"})],
    ),
    "reasoning and text": (delta(reasoning="Hm", content="x"), [ReasoningDelta("Hm"), "x"]),
    "parts": (
        delta(content=[{"type": "text", "text": "a"}, {"type": "video"}, "b", {"text": 1}]),
        [TextDelta("a"), TextDelta("b"), Detail("content", [{"type": "video"}, {"text": 1}])],
    ),
    "refusal": (delta(refusal="No."), [RefusalDelta("No.")]),
    "refusal beside text": (delta(content="x", refusal="No."), ["x", RefusalDelta("No.")]),
    "finish": (delta("stop"), [Finish("stop")]),
    "finish with text": (delta("length", content="x"), ["x", Finish("length")]),
    "finish as a number": (delta(7), [Finish("7")]),
    "empty finish": (delta("", content="x"), ["x"]),
    "usage behind the end": (
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}},
        [
            usage(
                {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
                input_tokens=1,
                output_tokens=2,
                stated_total=3,
            )
        ],
    ),
    "usage in full": (
        {
            **delta("stop"),
            "usage": {
                "prompt_tokens": 5,
                "completion_tokens": "6",
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
        },
        [
            Finish("stop"),
            usage(
                {
                    "prompt_tokens": 5,
                    "completion_tokens": "6",
                    "prompt_tokens_details.cached_tokens": 4,
                    "completion_tokens_details.reasoning_tokens": 3,
                },
                input_tokens=5,
                cached_tokens=4,
                reasoning_tokens=3,
            ),
        ],
    ),
    "usage beside text": ({**delta(content="x"), "usage": {}}, ["x"]),
    "null usage": ({**delta(content="x"), "usage": None}, ["x"]),
    "usage of no known shape": ({**delta(content="x"), "usage": 3}, ["x"]),
    "tool call": (
        delta(tool_calls=[call(0, "a", "f", "")]),
        [ToolCallDelta(0, "a", "f", "")],
    ),
    "tool calls at once": (
        delta(tool_calls=[call(None, "a", "f", "{}"), call(None, "b", "f", "{}")]),
        [
            ToolCallDelta(0, "a", "f"),
            ToolCallDelta(1, "b", "f"),
            ToolCallDelta(0, None, None, "{}"),
            ToolCallDelta(1, None, None, "{}"),
        ],
    ),
    "tool call with a numeric identifier": (delta(tool_calls=[call(0, 12, "f")]), [ToolCallDelta(0, "12", "f")]),
    "tool call with an object for arguments": (
        delta(tool_calls=[call(0, "a", "f", {"x": 1})]),
        [ToolCallDelta(0, "a", "f", '{"x": 1}')],
    ),
    "tool call with nothing in it": (
        delta(tool_calls=[{"function": None}, {"index": 0, "id": "", "function": {"name": ""}}]),
        [],
    ),
    "tool call with an odd name and index": (delta(tool_calls=[call([], "a", 5)]), [ToolCallDelta(0, "a", "5")]),
    "the older function call": (
        delta(function_call={"name": "f", "arguments": "{}"}),
        [ToolCallDelta(0, None, "f"), ToolCallDelta(0, None, None, "{}")],
    ),
    "time": ({**delta("stop"), "created": 5}, [Finish("stop"), Detail("created", 5)]),
}

ERRORS = {
    "error object": ({"error": {"message": "boom", "type": "server_error"}}, ServerError),
    "error text": ({"error": "boom", "code": 503}, ServerError),
    "error beside choices": ({**delta(content="x"), "error": {"message": "boom", "code": 500}}, ServerError),
    "error with a status of its own": ({"error": {"message": "slow down", "code": 429}}, RateLimitError),
    "error with a status beside it": ({"error": {"message": "slow down"}, "status": 429}, RateLimitError),
    "error with an odd status": ({"error": {"message": "boom", "code": 7}}, ProviderError),
    "object of kind error": ({"object": "error", "message": "boom", "code": 500}, ServerError),
    "object of kind error, disguised": ({**delta(content="x"), "object": "error"}, ProviderError),
    "framework's detail": ({"detail": "Internal Server Error", "status": 500}, ServerError),
    "bare message": ({"message": "The model `m` does not exist", "code": 404}, ModelUnavailableError),
    "finish_reason error": (delta("error"), ServerError),
    "choices of no known shape": ({"choices": {"0": {}}}, ProtocolError),
    "choice of no known shape": ({"choices": ["x"]}, ProtocolError),
    "delta of no known shape": ({"choices": [{"delta": "x"}]}, ProtocolError),
    "content of no known shape": (delta(content=5), ProtocolError),
    "tool calls of no known shape": (delta(tool_calls={"a": 1}), ProtocolError),
    "tool call of no known shape": (delta(tool_calls=["x"]), ProtocolError),
    "function of no known shape": (delta(tool_calls=[{"function": "f"}]), ProtocolError),
    "function call of no known shape": (delta(function_call="f"), ProtocolError),
}

# Raw bytes that the two parsers could read differently, with the pieces that both must return.
BEFORE, BEHIND = b'{"choices":[{"delta":{"content":"', b'"}}]}'
RAW = {
    "plain": (BEFORE + b"x" + BEHIND, ["x"]),
    "blanks around": (b" \t" + BEFORE + b"x" + BEHIND + b" \n", ["x"]),
    "NaN": (b'{"x":NaN,' + BEFORE[1:] + b"x" + BEHIND, ["x"]),
    "infinity": (b'{"x":[Infinity,-Infinity],' + BEFORE[1:] + b"x" + BEHIND, ["x"]),
    "huge exponent": (b'{"x":1e999,' + BEFORE[1:] + b"x" + BEHIND, ["x"]),
    "huge integer": (b'{"x":' + b"9" * 5000 + b"," + BEFORE[1:] + b"x" + BEHIND, ["x"]),
    "huge integer beside NaN": (b'{"x":[NaN,-' + b"9" * 5000 + b",7]," + BEFORE[1:] + b"x" + BEHIND, ["x"]),
    "duplicate keys, last one wins": (b'{"choices":[],"error":{"a":1},"error":null,' + BEFORE[1:] + b"x" + BEHIND, ["x"]),
    "duplicate content": (b'{"choices":[{"delta":{"content":"no","content":"x"}}]}', ["x"]),
    "duplicate error": (BEFORE + b'x"}}],"error":null,"error":{"message":"boom"}}', ProviderError),
    "duplicate choices": (BEFORE + b'no"}}],"choices":[{"delta":{"content":"x"}}]}', ["x"]),
    "escaped key": (b'{"choices":[{"delta":{"\\u0063ontent":"x"}}]}', ["x"]),
    "escapes": (BEFORE + rb"a\n\t\"\\\/\u00e9\ud83d\ude00" + BEHIND, ['a\n\t"\\/é😀']),
    "lone surrogate": (BEFORE + rb"a\ud800b" + BEHIND, ["a\ud800b"]),
    "lone surrogate elsewhere": (b'{"x":"\\udc00",' + BEFORE[1:] + b"x" + BEHIND, ["x"]),
    "line separators": (BEFORE + "a\u2028b\x85c\u00a0".encode() + BEHIND, ["a\u2028b\x85c\u00a0"]),
    "DEL": (BEFORE + b"a\x7f" + BEHIND, ["a\x7f"]),
    "NUL in text": (BEFORE + b"a\\u0000" + BEHIND, ["a\0"]),
    "invalid UTF-8": (BEFORE + b"a\xff\xe2\x82" + BEHIND, ["a\ufffd\ufffd"]),
    "encoded surrogate": (BEFORE + b"\xed\xa0\x80" + BEHIND, ["\ufffd\ufffd\ufffd"]),
    "raw line break": (BEFORE + b"a\nb" + BEHIND, ProtocolError),
    "raw control character": (BEFORE + b"a\x01" + BEHIND, ProtocolError),
    "raw control character elsewhere": (b'{"x":"\x01",' + BEFORE[1:] + b"x" + BEHIND, ProtocolError),
    "bad escape": (BEFORE + b"\\x" + BEHIND, ProtocolError),
    "bad escape elsewhere": (b'{"x":"\\x",' + BEFORE[1:] + b"x" + BEHIND, ProtocolError),
    "leading zero": (b'{"x":01,' + BEFORE[1:] + b"x" + BEHIND, ProtocolError),
    "trailing comma": (b'{"choices":[{"delta":{"content":"x"}},]}', ProtocolError),
    "something behind": (BEFORE + b"x" + BEHIND + b"{}", ProtocolError),
    "cut": (BEFORE + b"x", ProtocolError),
    "cut where a template begins and ends": (BEFORE + b"}}]}", ProtocolError),
    "cut where padding begins and ends": (BEFORE + b'x"}}],"obfuscation":"}', ProtocolError),
    "nested too deep": (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"," + BEFORE[1:] + b"x" + BEHIND, ProtocolError),
    "a list": (b"[" + BEFORE + b"x" + BEHIND + b"]", ProtocolError),
    "a number": (b"5", ProtocolError),
    "a page": (b"<html>", ProtocolError),
    "UTF-16": (BEFORE.decode().encode("utf-16"), ProtocolError),
    "nothing": (b"", ProtocolError),
}


def outcome(read):
    try:
        return read()
    except ProviderError as error:
        return type(error)


def by_reader(payload, before=()):
    """As a stream reads it, after other chunks."""
    reader = ChunkReader()
    for earlier in before:
        outcome(partial(read_one, reader, earlier))
    return outcome(partial(read_all, reader, payload))


def read_one(reader, payload):
    # The decoder of events returns only valid UTF-8.
    payload = payload.decode(errors="replace").encode()
    piece = reader.fast(payload)
    return reader.parsed(payload) if piece is None else [piece]


def read_all(reader, payload):
    return read_one(reader, payload) + reader.end()


LEARNED = BEFORE + b"word" + BEHIND
PADDED = b'{"choices":[{"delta":{"content":"word"}}],"obfuscation":"abc"}'
WAYS = {
    "alone": [],
    "after another": [LEARNED],
    "after padding": [PADDED],
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("chunk", "expected"), [*CHUNKS.values(), *ERRORS.values()], ids=[*CHUNKS, *ERRORS])
def test_what_a_chunk_means(way, chunk, expected):
    found = by_reader(json.dumps(chunk).encode(), way)
    assert found == expected or issubclass(found, expected)
    assert found == outcome(lambda: streamed(chunk))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("payload", "expected"), RAW.values(), ids=RAW)
def test_what_odd_json_means(way, payload, expected):
    found = by_reader(payload, way)
    if isinstance(found, list):  # values of keys without a meaning are kept as they are
        found = [piece for piece in found if not isinstance(piece, Detail)]
    assert found == expected or issubclass(found, expected)


OBJECTS = (
    b'{"a": 1}', b' {"a": [1.5, -0, 1E5, true, null]} ', b'{"a": 1, "a": 2}', b'{"a": 123456789012345678901234567890}',
    b'{"a": 1e999}', b'{"a": NaN}', b'{"a": "\\ud83d"}', b'{"a": "\\ud83d\\ude00"}', b'{"a": "\xff"}', b'{"a": 1} x', b'{"a": 1',
    b'{"a": "b\tc"}', b'\xef\xbb\xbf{"a": 1}', b'[{"error": "no"}]', b'"text"', b"", b'{"a":' * 5000,
    b'{"a": 1' + b"0" * 5000 + b"}",
)  # fmt: skip


@pytest.mark.parametrize("data", OBJECTS, ids=lambda data: repr(data[:24]))
def test_both_parsers_give_the_same_object(data, monkeypatch):
    found = []
    _json.prepare_stream()
    for decode in (_json._scanned, msgspec.json.decode):
        monkeypatch.setattr(_json, "_decode", decode)
        found.append(outcome(lambda: repr(openai_chat.parse(data))))
    monkeypatch.setattr(_json, "_decode", lambda data: None)  # only the slow way
    assert found == [outcome(lambda: repr(openai_chat.parse(data)))] * 2


def test_a_stream_is_parsed_with_the_faster_parser(monkeypatch):
    monkeypatch.setattr(_json, "_decode", _json._scanned)
    _json.prepare_stream.cache_clear()
    assert openai_chat.parse(b"{}") == {}
    assert _json._decode is _json._scanned
    _json.prepare_stream()
    assert _json._decode.__self__.__class__ is msgspec.json.Decoder


def test_an_error_keeps_an_excerpt_of_limited_length():
    with pytest.raises(ProtocolError) as caught:
        openai_chat.parse(b"x" * 5000)
    assert set(caught.value.excerpt) == {"x"}
    assert len(caught.value.excerpt) <= 2000


# --- tool calls over several chunks ------------------------------------------------------------------------------------

STREAMS = {
    "as they should be": [
        (call(0, "a", "f", ""), 0),
        (call(0, None, None, "{"), 0),
        (call(1, "b", "g", ""), 1),
        (call(0, None, None, "}"), 0),
        (call(1, None, None, "{}"), 1),
    ],
    "no index, an identifier for each": [(call(None, "a", "f", "{}"), 0), (call(None, "b", "f", "{}"), 1)],
    "no index, no identifier": [(call(None, None, "f", "{}"), 0), (call(None, None, "f", "{}"), 1)],
    "no index, in pieces": [
        (call(None, "a", "f", "{"), 0),
        (call(None, None, None, "}"), 0),
        (call(None, "b", "f", "{"), 1),
        (call(None, None, None, "}"), 1),
        (call(None, "a", None, " "), 0),
    ],
    "one index for all": [
        (call(0, "a", "f", "{}"), 0),
        (call(0, "b", "f", "{"), 1),
        (call(0, None, None, "}"), 1),
    ],
    "identifier and name in every piece": [(call(0, "a", "f", "{"), 0), (call(0, "a", "f", "}"), 0)],
    "identifier later than the name": [(call(0, None, "f", "{"), 0), (call(0, "a", "f", "}"), 0)],
    "an identifier of its own in every piece": [(call(0, "a", "f", "{"), 0), (call(0, "b", None, "}"), 0)],
    "empty identifiers": [(call(0, "a", "f", "{"), 0), (call(0, "", "", "}"), 0)],
    "indices that begin at 1": [(call(1, "a", "f", "{"), 0), (call(2, "b", "f", "{"), 1), (call(1, None, None, "}"), 0)],
    "an index that nothing began": [(call(0, "a", "f", "{"), 0), (call(3, None, None, "}"), 0)],
    "numbered by text": [(call("0", "a", "f"), 0), (call("1", "b", "f"), 1), (call("0", None, None, "{}"), 0)],
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_pieces_of_tool_calls_find_their_call(stream):
    expected = {}
    for entry, number in stream:
        expected[number] = expected.get(number, "") + entry["function"].get("arguments", "").strip()
    found = {}
    for piece in streamed(*(delta(tool_calls=[entry]) for entry, _ in stream)):
        if isinstance(piece, ToolCallDelta):
            found[piece.index] = found.get(piece.index, "") + piece.arguments.strip()
    assert found == expected


# --- whole answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}, ["x", Finish("stop")]),
        (
            {
                "id": 5,
                "choices": [
                    {
                        "message": {"content": None, "tool_calls": [call(None, "a", "f", "{}"), call(None, "b", "f", "{}")]},
                        "finish_reason": "tool_calls",
                    }
                ],
                "usage": {"prompt_tokens": 1},
            },
            [
                ToolCallDelta(0, "a", "f", "{}"),
                ToolCallDelta(1, "b", "f", "{}"),
                Finish("tool_calls"),
                Detail("id", "5"),
                usage({"prompt_tokens": 1}, input_tokens=1),
            ],
        ),
        ({"choices": []}, ProtocolError),
        ({}, ProtocolError),
        ({"error": {"message": "The model `m` does not exist"}}, ModelUnavailableError),
    ],
)
def test_what_a_whole_answer_means(answer, expected):
    assert outcome(lambda: list(openai_chat.answer_pieces(answer))) == expected


# --- the fast readers --------------------------------------------------------------------------------------------------

TEXTS = st.text(max_size=12) | st.sampled_from(['"', "\\", '"}}]}', "\n", "\ud800", "word", "ProbeOfTheTemplate", '","x":"'])
FIELDS = st.sampled_from(["content", "reasoning", "reasoning_content", "refusal", "role"])
SHAPES = st.sampled_from(["{}", '{"obfuscation": "p", "z": 1}', '{"obfuscation":"\\"p"}', '{"error": null}', '{"x": "word"}'])


def written(field, text, around, *, ascii_only):
    chunk = {"id": "word", **delta(**{field: text}), **json.loads(around)}
    return json.dumps(chunk, ensure_ascii=ascii_only).encode(errors="replace")


@settings(deadline=None, max_examples=400)
@given(
    chunks=st.lists(st.tuples(FIELDS | st.just("content"), TEXTS, SHAPES), min_size=1, max_size=6),
    ascii_only=st.booleans(),
)
@example(chunks=[("content", text, "{}") for text in ("a", "b", 'c"', "", "d\\", "word", "\u2028")], ascii_only=False)
@example(chunks=[("reasoning", text, "{}") for text in ("a", "b", "", "c")], ascii_only=False)
@example(chunks=[("content", text, '{"obfuscation": "p", "z": 1}') for text in ("a", "b", "\n", "")], ascii_only=False)
def test_a_stream_gives_the_pieces_of_its_parsed_chunks(chunks, ascii_only):
    reader, answer = ChunkReader(), ChatAnswer()
    for field, text, around in chunks:
        payload = written(field, text, around, ascii_only=ascii_only)
        assert read_one(reader, payload) == list(answer.pieces(openai_chat.parse(payload)))
    assert reader.end() == list(answer.end())


@settings(deadline=None, max_examples=300)
@given(insert=st.binary(max_size=8), place=st.integers(0, 200), again=st.integers(0, 3), padded=st.booleans())
@example(insert=b'"', place=33, again=1, padded=False)
@example(insert=b'","content":"no', place=33, again=1, padded=False)
@example(insert=b'"', place=56, again=1, padded=True)
def test_a_changed_chunk_gives_the_pieces_of_the_parsed_chunk(insert, place, again, padded):
    chunk = PADDED if padded else LEARNED
    place %= len(chunk)
    changed = (chunk[:place] + insert + chunk[place + again :]).decode(errors="replace").encode()
    expected = outcome(lambda: streamed(openai_chat.parse(chunk), openai_chat.parse(changed)))
    found = by_reader(changed, [chunk])
    assert found == (expected[1:] if isinstance(expected, list) else expected)


def texts(pieces):
    return [piece for piece in pieces if not isinstance(piece, Detail)]


def reads(reader, payload):
    return reader.fast(payload) is not None


def test_chunks_that_differ_in_their_text_only_are_read_without_parsing():
    reader = ChunkReader()
    stream = [written("content", text, "{}", ascii_only=False) for text in ("a", "b\n", "é", "c")]
    assert not reads(reader, stream[0])
    assert texts(reader.parsed(stream[0])) == ["a"]
    assert all(reads(reader, payload) for payload in stream[1:])


@settings(deadline=None, max_examples=400)
@given(
    chunks=st.lists(st.tuples(st.just("content") | FIELDS, TEXTS, st.just("{}") | SHAPES), min_size=1, max_size=12),
)
@example(chunks=[("content", text, "{}") for text in ("a", "b", "c", "d", '"', "e", "f")])
@example(chunks=[("content", text, "{}") for text in ("a", "b", "c", "", "d", "\0", "e")])
@example(chunks=[("content", "a", "{}"), ("content", "b", "{}"), ("role", "x", "{}"), *[("content", "c", "{}")] * 4])
def test_a_run_of_chunks_gives_the_texts_of_its_chunks(chunks):
    payloads = [written(field, text, around, ascii_only=False) for field, text, around in chunks]
    reader = ChunkReader()
    at = 0
    while at < len(payloads):
        run = reader.run(payloads, at)
        assert run == [reader.fast(payload) for payload in payloads[at : at + len(run)]]
        at += len(run)
        if at < len(payloads):
            outcome(partial(read_one, reader, payloads[at]))
            at += 1


def test_a_run_ends_at_an_error_and_at_a_chunk_that_differs():
    template = Template(b'a"', b'"b')
    assert template.texts([b'a"1"b', b'a"2"b', b'a"3"c']) == ["1", "2"]
    assert template.texts([b'a"1"b', ErrorData(b'a"2"b'), b'a"3"b']) == ["1"]
    assert template.texts([b'a"1"b', b'a"b']) == ["1"]
    assert Template(b'a"', b'"b"', b'"c').texts([b'a"1"b"2"c']) == []


def test_chunks_with_random_padding_are_read_without_parsing():
    reader = ChunkReader()
    reader.parsed(PADDED)
    assert reader.fast(PADDED.replace(b"abc", b"other").replace(b"word", b"x")) == "x"
    assert reader.fast(PADDED.replace(b"abc", b'o\\"')) is None
    assert reader.fast(PADDED.replace(b"obfuscation", b"obfuscatioN")) is None


def test_padding_with_escapes_counts_as_part_of_the_template():
    reader = ChunkReader()
    payload = PADDED.replace(b"abc", b'\\"abc')
    reader.parsed(payload)
    assert reader.fast(payload.replace(b"word", b"x")) == "x"
    assert reader.fast(payload.replace(b"abc", b"abd")) is None


def test_chunks_of_reasoning_are_read_without_parsing():
    reader = ChunkReader()
    reader.parsed(written("reasoning", "a", "{}", ascii_only=False))
    assert reader.fast(written("reasoning", "b", "{}", ascii_only=False)) == ReasoningDelta("b")


def test_a_stream_whose_chunks_all_differ_stops_making_templates():
    reader = ChunkReader()
    for number in range(8):
        assert texts(reader.parsed(json.dumps({"id": number, **delta(content="x")}).encode())) == ["x"]
    last = json.dumps({"id": 8, **delta(content="x")}).encode()
    reader.parsed(last)
    assert not reads(reader, last)


def test_a_template_that_matched_is_replaced_by_the_next():
    reader = ChunkReader()
    for number in range(12):
        payload = json.dumps({"created": number, **delta(content="x")}).encode()
        reader.parsed(payload)
        assert reads(reader, payload)


@pytest.mark.parametrize("text", ['"', "\\", "\n", "\u2028", "ProbeOfTheTemplate"])
def test_a_text_with_special_characters_gives_no_template(text):
    reader = ChunkReader()
    payload = written("content", text, "{}", ascii_only=False)
    assert texts(reader.parsed(payload)) == [text]
    assert not reads(reader, payload)


def test_a_text_that_is_written_with_escapes_gives_no_template():
    reader = ChunkReader()
    payload = written("content", "é", "{}", ascii_only=True)
    assert texts(reader.parsed(payload)) == ["é"]
    assert not reads(reader, payload)


def test_a_text_that_stands_again_after_its_place_gives_no_template():
    reader = ChunkReader()
    payload = json.dumps({**delta(content="x"), "system": "x"}).encode()
    assert texts(reader.parsed(payload)) == ["x"]
    assert not reads(reader, payload)


def test_a_chunk_with_a_further_answer_gives_no_template():
    reader = ChunkReader()
    payload = json.dumps({"choices": [{"delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]}).encode()
    assert [reader.parsed(payload), reads(reader, payload), reader.parsed(payload)] == [["a"], False, ["a"]]
    (choices,) = reader.end()
    assert choices.value == [{"index": 1, "message": {"content": "bb"}}]


def test_a_template_does_not_match_a_shorter_chunk():
    assert Template(b'a"', b'"b').text(b'a"b') is None
    assert Template(b'a"', b'"b').text(b'a""b') == ""
