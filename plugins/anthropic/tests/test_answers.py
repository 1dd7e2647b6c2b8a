"""The turn that goes back, the sources, the details and the counts of an answer: whole and streamed, sync and async."""

import asyncio
import json

import pytest

import providerhub
from providerhub import Citation, ProviderConfig, ReasoningDelta, ToolCallDelta
from providerhub.testing import FaultServer, chunked, http_response

KEY = "a-key-for-this-test"
MODEL = "claude-sonnet-4-6"


def hub_at(url):
    config = ProviderConfig(url=url, api_key=KEY)
    retry = providerhub.RetryPolicy(attempts=1)
    return providerhub.Hub(providerhub.Settings(providers={"anthropic": config}, allow=("anthropic",), retry=retry))


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def message(*content, reason="end_turn", usage=None, **fields):
    counts = {"input_tokens": 3, "output_tokens": 7, **(usage or {})}
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "content": list(content),
        "stop_reason": reason, "stop_sequence": None, "usage": counts, **fields,
    }  # fmt: skip


LATE = {"stop_reason", "stop_sequence", "stop_details", "container"}
DELTAS = {"text": "text_delta", "thinking": "thinking_delta"}


def events_of(said):
    """The stream of a message, every text in two pieces."""
    late = {name: said[name] for name in LATE & said.keys()}
    begun = {**said, "content": [], **dict.fromkeys(late), "usage": {**said["usage"], "output_tokens": 1}}
    yield event("message_start", message=begun)
    yield event("ping")
    for index, block in enumerate(said["content"]):
        yield from block_events(index, block)
    yield event("message_delta", delta=late, usage={"output_tokens": said["usage"]["output_tokens"]})
    yield event("message_stop")


def block_events(index, block):
    start, deltas = dict(block), []
    for name, kind in DELTAS.items():
        if isinstance(block.get(name), str):
            half = len(block[name]) // 2
            start[name] = ""
            deltas += [{"type": kind, name: piece} for piece in (block[name][:half], block[name][half:])]
    if block.get("signature"):
        start["signature"] = ""
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    if "input" in block:
        text = json.dumps(block["input"]) if block["input"] else ""
        start["input"] = {}
        deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in (text[:3], text[3:])]
    if block.get("citations"):
        start["citations"] = []
        deltas = [{"type": "citations_delta", "citation": one} for one in block["citations"]] + deltas
    yield event("content_block_start", index=index, content_block=start)
    for delta in deltas:
        yield event("content_block_delta", index=index, delta=delta)
    yield event("content_block_stop", index=index)


WAYS = [(False, False), (True, False), (False, True), (True, True)]
EVERY_WAY = pytest.mark.parametrize(("stream", "aio"), WAYS, ids=["whole", "streamed", "whole, async", "streamed, async"])


def answered(said, *, stream=False, aio=False, headers=None, **knobs):
    """The completion and the events of one message, or of the events of a stream."""
    script = (
        chunked(said if isinstance(said, list) else list(events_of(said)), headers=headers)
        if stream
        else http_response(200, said, headers)
    )

    async def run(hub):
        found = await hub.acomplete(MODEL, "?", stream=stream, **knobs)
        if not stream:
            return found, []
        seen = [one async for one in found.events()]
        return found.completion, seen

    with FaultServer(script) as server, hub_at(server.url) as hub:
        if aio:
            return asyncio.run(run(hub))
        found = hub.complete(MODEL, "?", stream=stream, **knobs)
        seen = list(found.events()) if stream else []
        return (found.completion if stream else found), seen


THINKING = {"type": "thinking", "thinking": "I need it.", "signature": "c2lnbmVk"}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "cat"}}
RESULT = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [{"type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "c2VjcmV0"}],
}
CITED = {
    "type": "web_search_result_location",
    "url": "https://a.example",
    "title": "A",
    "cited_text": "A cat.",
    "encrypted_index": "aQ",
}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"x": 1}}
TEXT = {"type": "text", "text": "A cat."}
WHOLE = [
    THINKING,
    {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
    SEARCH,
    RESULT,
    {"type": "mcp_tool_use", "id": "mcp_1", "name": "find", "server_name": "s", "input": {}},
    {"type": "mcp_tool_result", "tool_use_id": "mcp_1", "is_error": False, "content": [TEXT]},
    {"type": "block_of_next_year", "payload": {"a": [1]}},
    {"type": "text", "text": "A cat.", "citations": [CITED]},
    CALL,
]


@EVERY_WAY
def test_blocks_go_back_as_they_came(stream, aio):
    answer, _ = answered(message(*WHOLE, reason="tool_use"), stream=stream, aio=aio)
    assert answer.turn.content == WHOLE
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("A cat.", "I need it.", "tool_calls")
    assert [(call.id, call.arguments) for call in answer.tool_calls] == [("toolu_1", '{"x": 1}')]


@pytest.mark.parametrize(
    ("blocks", "goes"),
    [
        ([TEXT], False),
        ([TEXT, CALL], False),
        ([TEXT, {**CALL, "caller": {"type": "direct"}}], False),
        ([{**TEXT, "citations": None}], False),
        ([TEXT, {**CALL, "caller": {"type": "code_execution_20260120", "tool_id": "t"}}], True),
        ([THINKING, TEXT], True),
        ([{**TEXT, "citations": [CITED]}], True),
        ([{"type": "compaction", "content": "So far."}, TEXT], True),
        ([TEXT, {"type": "container_upload", "file_id": "f"}], True),
    ],
)
def test_only_an_answer_that_a_plain_message_cannot_hold_has_a_turn(blocks, goes):
    for stream in (False, True):
        answer, _ = answered(message(*blocks), stream=stream)
        assert (answer.turn is not None) is goes
        assert answer.turn is None or answer.turn.content == blocks


def test_deltas_of_unknown_types_belong_to_their_block():
    script = [
        event("message_start", message=message()),
        event("content_block_start", index=0, content_block={"type": "compaction", "content": None}),
        event(
            "content_block_delta", index=0, delta={"type": "compaction_delta", "content": "So far.", "encrypted_content": "eA"}
        ),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={"type": "new", "log": "a", "state": 0}),
        event("content_block_delta", index=1, delta={"type": "new_delta", "log": "b", "state": 1, "more": [1]}),
        event("content_block_delta", index=1, delta={"type": "new_delta", "log": "c", "state": 2}),
        event("message_delta", delta={"stop_reason": "compaction"}, usage={"output_tokens": 9}),
        event("message_stop"),
    ]
    with FaultServer(chunked(script)) as server, hub_at(server.url) as hub:
        with hub.complete(MODEL, "?", stream=True) as stream:
            list(stream.events())
        answer = stream.completion
    assert answer.turn.content == [
        {"type": "compaction", "content": "So far.", "encrypted_content": "eA"},
        {"type": "new", "log": "abc", "state": 2, "more": [1]},
    ]
    assert (answer.finish_reason, answer.finish_said) == ("pause_turn", "compaction")


@EVERY_WAY
def test_the_container_goes_back(stream, aio):
    container = {"id": "container_1", "expires_at": "2026-11-29T03:00:00Z"}
    answer, _ = answered(message(TEXT, container=container), stream=stream, aio=aio)
    assert answer.details["container"] == container
    assert answer.turn.content == [TEXT, {"type": "container", **container}]


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_was_cut_goes_back_with_its_thinking(stream):
    said = message(THINKING, CALL, reason="max_tokens")
    if stream:
        frames = [frame for frame in events_of(said) if b"1}" not in frame or b"partial_json" not in frame]
        with FaultServer(chunked(frames)) as server, hub_at(server.url) as hub:
            with hub.complete(MODEL, "?", stream=True) as found:
                list(found.events())
            answer = found.completion
        assert answer.tool_calls[0].arguments == '{"x'
        assert answer.turn.content == [THINKING, {**CALL, "input": {"input": '{"x'}}]
    else:
        assert answered(said)[0].turn.content == [THINKING, CALL]


@EVERY_WAY
def test_a_call_without_arguments_has_an_empty_object(stream, aio):
    answer, seen = answered(message({**CALL, "input": {}}, reason="tool_use"), stream=stream, aio=aio)
    assert answer.tool_calls[0].arguments == "{}"
    assert not stream or "".join(one.arguments for one in seen if isinstance(one, ToolCallDelta)) == "{}"


def test_imitators_leave_texts_and_pieces_out():
    script = [
        event("message_start", message=message()),
        event("content_block_start", index=0, content_block={"type": "text"}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"}),
        event("content_block_start", index=1, content_block={**CALL, "input": {}}),
        event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": None}),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 9}),
        event("message_stop"),
    ]
    with FaultServer(chunked(script)) as server, hub_at(server.url) as hub, hub.complete(MODEL, "?", stream=True) as stream:
        list(stream.events())
    assert (stream.completion.text, stream.completion.tool_calls[0].arguments) == ("Hi", "{}")


@pytest.mark.parametrize("given", [{"x": 1}, '{"x": 1}'])
def test_a_call_whose_input_comes_at_the_start_of_its_block(given):
    script = [
        event("message_start", message=message()),
        event("content_block_start", index=0, content_block={**CALL, "input": given}),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 9}),
        event("message_stop"),
    ]
    with FaultServer(chunked(script)) as server, hub_at(server.url) as hub, hub.complete(MODEL, "?", stream=True) as stream:
        list(stream.events())
    assert stream.completion.tool_calls[0].arguments == '{"x": 1}'


@EVERY_WAY
def test_citations_of_every_kind(stream, aio):
    places = [
        CITED,
        {"type": "char_location", "cited_text": "b", "document_index": 0, "document_title": "D",
         "start_char_index": 1, "end_char_index": 2},
        {"type": "page_location", "cited_text": "c", "document_index": 0, "document_title": None,
         "start_page_number": 1, "end_page_number": 2},
        {"type": "content_block_location", "cited_text": "d", "document_index": 1, "start_block_index": 0, "end_block_index": 1},
        {"type": "search_result_location", "cited_text": "e", "title": "E", "source": "https://e.example",
         "search_result_index": 0},
        {"type": "search_result_location", "cited_text": "f", "title": "F", "source": "shelf 7", "search_result_index": 1},
    ]  # fmt: skip
    blocks = [{"type": "text", "text": "Well: "}, {"type": "text", "text": "six.", "citations": places}]
    answer, seen = answered(message(*blocks), stream=stream, aio=aio)
    assert [(one.url, one.title, one.text) for one in answer.citations] == [
        ("https://a.example", "A", "A cat."),
        (None, "D", "b"),
        (None, None, "c"),
        (None, None, "d"),
        ("https://e.example", "E", "e"),
        (None, "F", "f"),
    ]
    assert {answer.text[one.start : one.end] for one in answer.citations} == {"six."}
    assert answer.citations[1].source == {
        "type": "char_location",
        "document_index": 0,
        "start_char_index": 1,
        "end_char_index": 2,
    }
    assert answer.citations[5].source["source"] == "shelf 7"
    assert not stream or [one for one in seen if isinstance(one, Citation)] == list(answer.citations)
    assert answer.turn.content == blocks


@EVERY_WAY
def test_details(stream, aio):
    said = message(
        TEXT,
        reason="stop_sequence",
        stop_sequence="END",
        context_management={"applied_edits": []},
        usage={"service_tier": "priority", "inference_geo": "us"},
    )
    answer, _ = answered(said, stream=stream, aio=aio, headers={"request-id": "req_1"})
    assert (answer.id, answer.served_model, answer.stop_sequence, answer.request_id) == ("msg_1", MODEL, "END", "req_1")
    assert answer.details["tier"] == "priority"
    assert answer.details["inference_geo"] == "us"
    assert answer.details["context_management"] == {"applied_edits": []}
    assert (answer.finish_reason, answer.finish_said) == ("stop", "stop_sequence")


@EVERY_WAY
def test_a_refusal_keeps_its_explanation(stream, aio):
    details = {"type": "refusal", "category": "cyber", "explanation": "Because."}
    answer, _ = answered(message(reason="refusal", stop_details=details), stream=stream, aio=aio)
    assert (answer.finish_reason, answer.finish_said, answer.details["refusal"]) == ("content_filter", "refusal", details)


@EVERY_WAY
def test_counts(stream, aio):
    usage = {
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens_details": {"thinking_tokens": 5},
        "server_tool_use": {"web_search_requests": 2},
        "iterations": [{"type": "message", "input_tokens": 1}, {"type": "compaction", "input_tokens": 2}],
    }
    answer, _ = answered(message(TEXT, usage=usage), stream=stream, aio=aio)
    found = answer.usage
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (133, 7, 100)
    assert (found.cache_write_tokens, found.reasoning_tokens) == (30, 5)
    assert found.others["cache_creation.ephemeral_1h_input_tokens"] == 20
    assert found.others["server_tool_use.web_search_requests"] == 2
    assert found.others["iterations.1.input_tokens"] == 2


@pytest.mark.parametrize(
    ("begun", "ended", "expected"),
    [
        ({"input_tokens": 10, "cache_read_input_tokens": 1000}, {"output_tokens": 20}, (1010, 20, 1000)),
        ({"input_tokens": 10, "cache_read_input_tokens": 1000}, {"input_tokens": 12, "output_tokens": 20}, (1012, 20, 1000)),
        ({"input_tokens": 0}, {"input_tokens": 12, "cache_read_input_tokens": 5, "output_tokens": 20}, (17, 20, 5)),
        ({"input_tokens": 10}, {"input_tokens": None, "output_tokens": 20}, (10, 20, None)),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 4}, "input_tokens": 1}, {}, (5, None, None)),
        ({}, None, (None, None, None)),
    ],
)
def test_counts_in_parts_are_merged_one_by_one(begun, ended, expected):
    script = [
        event("message_start", message={**message(), "usage": begun}),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage=ended),
        event("message_stop"),
    ]
    with FaultServer(chunked(script)) as server, hub_at(server.url) as hub, hub.complete(MODEL, "?", stream=True) as stream:
        list(stream.events())
    found = stream.completion.usage
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == expected


@pytest.mark.parametrize("aio", [False, True])
def test_a_mark_in_place_of_the_last_event_ends_the_message(aio):
    *before, _ = events_of(message(TEXT))
    found, _ = answered([*before, b"data: [DONE]\n\n"], stream=True, aio=aio)
    assert (found.text, found.finish_reason) == ("A cat.", "stop")
    assert found.route.attempts[0].notes == ()


@pytest.mark.parametrize(("second", "fails"), [("msg_1", False), ("msg_2", True), (None, True)])
def test_a_second_message_in_one_stream(second, fails):
    begin, *rest = events_of(message(TEXT))
    script = chunked([begin, event("message_start", message={**message(), "id": second}), *rest])
    with FaultServer(script) as server, hub_at(server.url) as hub:
        if fails:
            with pytest.raises(providerhub.ProtocolError, match="second message"):
                hub.complete(MODEL, "?", stream=True)
        else:
            assert "".join(hub.complete(MODEL, "?", stream=True)) == "A cat."


@pytest.mark.parametrize("pieces", [[" time"], [" ", "time"], ["", "  time"], ["time"]])
def test_white_space_that_was_held_back_is_not_repeated(pieces):
    script = [
        event("message_start", message=message()),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece}) for piece in pieces),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={}),
        event("message_stop"),
    ]
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Once upon a "}]
    with FaultServer(chunked(script)) as server, hub_at(server.url) as hub:
        told = "".join(hub.complete("claude-haiku-4-5", talk, stream=True))
    assert server.requests[0].json()["messages"][-1]["content"] == [{"type": "text", "text": "Once upon a"}]
    assert told == (" time" if "  time" in pieces else "time")


def test_thinking_without_a_text_is_no_empty_reasoning():
    answer, seen = answered(message({**THINKING, "thinking": ""}, TEXT), stream=True)
    assert (answer.reasoning, answer.text) == (None, "A cat.")
    assert not [one for one in seen if isinstance(one, ReasoningDelta)]
    assert answer.turn.content[0] == {**THINKING, "thinking": ""}


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize("stream", [False, True])
def test_an_older_model_answers_by_a_tool(stream):
    said = message({"type": "tool_use", "id": "t", "name": "number", "input": {"n": 1}}, reason="tool_use")
    script = chunked(list(events_of(said))) if stream else http_response(200, said)
    form = {"type": "json_schema", "json_schema": {"name": "number", "schema": SCHEMA}}
    with FaultServer(script) as server, hub_at(server.url) as hub:
        found = hub.complete("claude-3-haiku-20240307", "?", response_format=form, stream=stream)
        if stream:
            list(found.events())
            found = found.completion
    body = server.requests[0].json()
    assert (body["tool_choice"], body["tools"][0]["input_schema"]) == ({"type": "tool", "name": "number"}, SCHEMA)
    assert (json.loads(found.text), found.tool_calls, found.turn) == ({"n": 1}, (), None)
    assert (found.finish_reason, found.finish_said) == ("stop", "tool_use")
