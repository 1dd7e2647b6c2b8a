"""Answers in the chat shape, whole and streamed: the caller's result, and the turn for the next request."""

from __future__ import annotations

import json

import pytest

from providerhub import (
    Citation,
    Detail,
    Finish,
    Media,
    ProtocolError,
    ProviderError,
    Request,
    Route,
    ServerError,
    ToolCallDelta,
    Usage,
)  # fmt: skip
from providerhub._calling.assembly import Assembly
from providerhub.wire import openai_chat
from providerhub.wire._chat_request import UNWANTED, conversation, with_call_ids
from providerhub.wire._chunk_reader import ChunkReader

META = {"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "m-1"}


def chunk(finish=None, /, choice=None, top=None, **fields):
    return {**META, "choices": [{"index": 0, "delta": fields, "finish_reason": finish, **(choice or {})}], **(top or {})}


def whole(finish="stop", /, choice=None, top=None, **fields):
    return {
        **META,
        "choices": [{"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": finish, **(choice or {})}],
        **(top or {}),
    }


def pieces_of(*answer):
    """Read chunks as a stream does, or one whole answer."""
    if "message" in (answer[0]["choices"] or [{}])[0] and "delta" not in answer[0]["choices"][0]:
        return list(openai_chat.answer_pieces(answer[0]))
    reader, found = ChunkReader(), []
    for one in answer:
        payload = json.dumps(one).encode()
        piece = reader.fast(payload)
        found += reader.parsed(payload) if piece is None else [piece]
    return found + reader.end()


def completion(*answer):
    assembly = Assembly()
    for piece in pieces_of(*answer):
        assembly.add(piece)
    return assembly.completion("p", "m", Route())


def both(fields, *more, finish="stop", **places):
    """The same answer, whole and in one chunk of text before one with everything else."""
    yield completion(whole(finish, **fields, **places))
    first = {name: value for name, value in fields.items() if name == "content"}
    rest = {name: value for name, value in fields.items() if name != "content"}
    yield completion(chunk(role="assistant", content=""), chunk(**first), chunk(**rest, **places), *more, chunk(finish))


# --- who answers, and what stands beside ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "details"),
    [
        (
            {"top": {"system_fingerprint": "fp", "service_tier": "flex", "provider": "Azure"}},
            {"fingerprint": "fp", "tier": "flex", "served_by": "Azure"},
        ),
        ({"top": {"time_info": {"queue_time": 0.5}}}, {"timings": {"queue_time": 0.5}}),
        ({"top": {"timings": {"predicted_ms": 5}, "x": [1]}}, {"timings": {"predicted_ms": 5}, "x": [1]}),
        ({"top": {"x_groq": {"id": "req_1"}}}, {"x_groq": {"id": "req_1"}}),
        ({"choice": {"native_finish_reason": "end", "seed": 5}}, {"native_finish_reason": "end", "seed": 5}),
        ({"choice": {"stop_reason": "###"}}, {"stop_sequence": "###"}),
        ({"choice": {"matched_stop": 151645}}, {"matched_stop": 151645}),
        (
            {"choice": {"content_filter_results": {"hate": {"filtered": False}}}},
            {"safety": {"content_filter_results": {"hate": {"filtered": False}}}},
        ),
        ({"choice": {"logprobs": {"content": [{"token": "a"}], "refusal": None}}}, {"logprobs": [{"token": "a"}]}),
        ({"choice": {"logprobs": {"tokens": ["a"]}}}, {"logprobs": [{"tokens": ["a"]}]}),
    ],
)
def test_everything_beside_the_answer_is_kept(places, details):
    for answer in both({"content": "x"}, **places):
        assert (answer.id, answer.served_model, answer.text) == ("c-1", "m-1", "x")
        assert answer.details == {"id": "c-1", "model": "m-1", "created": 7, **details}


def test_logprobs_of_all_chunks_of_text_are_joined():
    chunks = [chunk(content=text, choice={"logprobs": {"content": [{"token": text}]}}) for text in "abc"]
    assert completion(*chunks, chunk("stop")).logprobs == [{"token": "a"}, {"token": "b"}, {"token": "c"}]


def test_the_first_identifier_stays_and_a_later_model_replaces_the_earlier():
    answer = completion(chunk(content="x"), {**chunk("stop"), "id": "c-2", "model": "m-2", "created": 8})
    assert (answer.id, answer.served_model, answer.details["created"]) == ("c-1", "m-2", 7)


@pytest.mark.parametrize(
    ("fields", "top", "citations"),
    [
        (
            {
                "annotations": [
                    {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 1, "end_index": 5}}
                ]
            },
            {},
            (Citation("u", "t", None, 1, 5, {"type": "url_citation"}),),
        ),
        ({}, {"citations": ["https://a", "plain"]}, (Citation("https://a"), Citation(text="plain"))),
        ({}, {"web_search": [{"link": "https://a", "title": "A", "content": "c"}]}, (Citation("https://a", "A", "c"),)),
        (
            {"context": {"citations": [{"url": "https://a", "title": "A", "content": "c", "filepath": "f"}]}},
            {},
            (Citation("https://a", "A", "c", source={"filepath": "f"}),),
        ),
        (
            {},
            {
                "citations": ["https://a", "https://b"],
                "search_results": [{"url": "https://a", "title": "A", "snippet": "s", "date": "d"}],
            },
            (Citation("https://a", "A", "s", None, None, {"date": "d"}), Citation("https://b")),
        ),
    ],
)
def test_sources_become_citations_once(fields, top, citations):
    for answer in both({"content": "x", **fields}, chunk(top=top), top=top):
        assert answer.citations == citations


def test_a_second_message_in_one_stream_is_refused():
    again = {"top": {"id": "c-2"}, "role": "assistant", "content": "B"}
    for before in ([], [chunk(content="A")], [chunk(content="A"), chunk(content="A")]):
        begun = [chunk(role="assistant", content="A"), chunk(content="A"), *before]
        with pytest.raises(ProtocolError, match="second message"):
            completion(*begun, chunk(**again), chunk("stop"))


@pytest.mark.parametrize("role", [{}, {"role": "assistant"}], ids=["once", "always"])
def test_a_service_may_number_each_chunk(role):
    chunks = [chunk(**role, content="A", top={"id": f"c-{number}"}) for number in range(9)]
    answer = completion(chunk(role="assistant", content=""), *chunks, chunk("stop", top={"id": "c-9"}))
    assert (answer.text, answer.details["id"]) == ("A" * 9, "c-1")


def test_content_that_the_service_has_parsed_is_json_text():
    for answer in both({"content": {"name": "Zoë", "age": 3}}):
        assert json.loads(answer.text) == {"name": "Zoë", "age": 3}


def test_images_are_kept_and_go_back():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,UE5H"}, "index": 0}
    for answer in both({"content": "", "images": [image, {"url": "https://a/b.png"}]}):
        assert answer.media == (Media("image", "image/png", "UE5H"), Media("image", url="https://a/b.png"))
        assert answer.turn.content["images"][0] == image


def test_an_audio_answer_gives_its_transcript_and_its_sound_and_goes_back_by_its_identifier():
    audio = {"id": "audio_1", "expires_at": 9, "data": "UklGRg==", "transcript": "Good morning."}
    streamed = [
        {"id": "audio_1", "transcript": "Good "},
        {"transcript": "morning."},
        {"data": "Ukl"},
        {"data": "GRg=="},
        {"expires_at": 9},
    ]
    chunks = [chunk(content=None, audio=part) for part in streamed]
    for answer in (completion(whole(content=None, audio=audio)), completion(*chunks, chunk("stop"))):
        assert (answer.text, answer.details["audio"]) == ("Good morning.", {"expires_at": 9})
        assert [(one.kind, one.base64, one.id) for one in answer.media] == [("audio", "UklGRg==", "audio_1")]
        assert conversation([sent_back(answer)]) == [{"role": "assistant", "audio": {"id": "audio_1"}}]


def sent_back(answer):
    """The message as the plugin gets it: its turn holds the content alone."""
    message = json.loads(json.dumps(answer.message))
    return {**message, "turn": message["turn"]["content"]} if "turn" in message else message


# --- further choices -----------------------------------------------------------------------------------------------------


def test_further_choices_are_kept():
    two = whole(content="first")
    two["choices"].append({"index": 1, "message": {"role": "assistant", "content": "second"}, "finish_reason": "stop"})
    third = {"index": 2, "id": "x", "function": {"name": "f", "arguments": "{"}}
    others = [
        chunk(choice={"index": 1}, role="assistant", content="sec"),
        chunk(choice={"index": 1}, content="ond", tool_calls=[{"index": 0, **third}]),
        chunk("stop", choice={"index": 1}, tool_calls=[{"index": 0, "function": {"arguments": "}"}}]),
    ]
    answer = completion(two)
    assert (answer.text, [one["message"]["content"] for one in answer.details["choices"]]) == ("first", ["second"])
    answer = completion(chunk(content="first"), *others, chunk("stop"))
    (other,) = answer.details["choices"]
    assert (answer.text, other["finish_reason"], other["message"]["content"]) == ("first", "stop", "second")


def test_a_whole_answer_whose_only_choice_has_another_number_is_read():
    assert completion(whole(content="x", choice={"index": 1})).text == "x"


# --- tool calls ------------------------------------------------------------------------------------------------------------


def entry(index, identifier=None, name=None, arguments=None, **more):
    return {"index": index, "id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def called(answer):
    return [(call.name, call.arguments) for call in answer.tool_calls]


STREAMS = {
    "one identifier for two": ([entry(0, "a", "f", '{"x":1}'), entry(1, "a", "f", '{"x":2}')],
        [("f", '{"x":1}'), ("f", '{"x":2}')]),
    "one index, complete, and more": ([entry(0, "a", "f", '{"x":1}'), entry(0, "a", "f", '{"x":2}')],
        [("f", '{"x":1}'), ("f", '{"x":2}')]),
    "one index, another name": ([entry(0, None, "f", '{"x":1}'), entry(0, None, "g", ""), entry(0, None, None, "{}")],
        [("f", '{"x":1}'), ("g", "{}")]),
    "a repeat of the whole": ([entry(0, "a", "f", '{"x"'), entry(0, None, None, ":1}"), entry(0, "a", "f", '{"x":1}')],
        [("f", '{"x":1}')]),
    "one index, an identifier of its own for each piece": ([entry(0, "a", "f", '{"x"'), entry(0, "b", "f", ":1}")],
        [("f", '{"x":1}')]),
    "one index, one function twice": ([entry(0, "a", "f", '{"x":1}'), entry(0, "b", "f", '{"x":'), entry(0, "b", "", "1}")],
        [("f", '{"x":1}'), ("f", '{"x":1}')]),
    "one index, two calls without arguments": ([entry(0, "a", "f", ""), entry(0, "b", "f", "")], [("f", "{}"), ("f", "{}")]),
    "empty pieces": ([entry(0, "a", "f", '{"x":1}'), entry(0, None, None, ""), entry(0, "", "", "")], [("f", '{"x":1}')]),
    "an empty object before them": ([entry(0, "a", "f", "{}"), entry(0, None, None, '{"x":'), entry(0, None, None, "1}")],
        [("f", '{"x":1}')]),
    "an empty object": ([entry(0, "a", "f", "{}"), entry(0, None, None, "")], [("f", "{}")]),
    "no arguments": ([entry(0, "a", "f")], [("f", "{}")]),
    "white space": ([entry(0, "a", "f", " "), entry(0, None, None, "\n")], [("f", "{}")]),
    "a name in pieces": ([entry(0, "a", "get_", ""), entry(0, None, "time", ""), entry(0, None, None, "{}")],
        [("get_time", "{}")]),
    "a name that grows": ([entry(0, "a", "get_", ""), entry(0, "a", "get_time", ""), entry(0, "a", "get_time", "{}")],
        [("get_time", "{}")]),
    "nothing at all": ([entry(0, "", "", "")], []),
    "null for an identifier": ([entry(0, "null", "f", "{}"), entry(1, "null", "g", "{}")], [("f", "{}"), ("g", "{}")]),
    "an object": ([entry(0, "a", "f", {"x": 1})], [("f", '{"x": 1}')]),
}  # fmt: skip


@pytest.mark.parametrize(("entries", "calls"), STREAMS.values(), ids=STREAMS)
def test_streamed_tool_calls_are_put_together(entries, calls):
    for finish in ("stop", "tool_calls"):
        answer = completion(*(chunk(tool_calls=[one]) for one in entries), chunk(finish))
        assert called(answer) == calls
        assert len({call.id for call in answer.tool_calls}) == len(calls)
        assert answer.finish_reason == ("tool_calls" if calls else finish)


def test_each_entry_of_a_whole_answer_is_a_call():
    same = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert called(completion(whole("stop", content=None, tool_calls=[same, same]))) == [("f", "{}"), ("f", "{}")]
    assert called(completion(whole(content="4", function_call={"name": "", "arguments": ""}, tool_calls=None))) == []


def test_the_finish_event_says_tool_calls_and_comes_once():
    chunks = [chunk(tool_calls=[entry(0, "a", "f", "{}")]), chunk("stop"), chunk("stop", top={"usage": {"prompt_tokens": 1}})]
    assert [piece for piece in pieces_of(*chunks) if isinstance(piece, Finish)] == [Finish("tool_calls", "stop")]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("STOP", "stop"), ("eos_token", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"),
        ("content_filter: RECITATION", "content_filter"), ("Odd", "Odd"),
    ],
)  # fmt: skip
def test_words_for_the_end_are_read_in_any_case(said, reason):
    for answer in (completion(whole(said, content="x")), completion(chunk(content="x"), chunk(said))):
        assert (answer.finish_reason, answer.finish_said) == (reason, None if said == reason else said)
    called = completion(chunk(tool_calls=[entry(0, "a", "f", "{}")]), chunk(said))
    assert called.finish_reason == ("tool_calls" if reason == "stop" else reason)


@pytest.mark.parametrize("said", ["error", "function_call_filter: MALFORMED_FUNCTION_CALL"])
def test_a_failure_at_the_end_is_no_empty_answer(said):
    for found in (whole(said, content=None), chunk(said)):
        with pytest.raises(ServerError, match=f"no valid answer \\(finish reason '{said}'\\)"):
            pieces_of(found)


def test_custom_tool_calls_are_kept():
    call = {"id": "a", "type": "custom", "custom": {"name": "run", "input": "print("}}
    more = {"index": 0, "custom": {"input": "1)"}}
    for answer in (
        completion(whole("tool_calls", tool_calls=[{**call, "custom": {"name": "run", "input": "print(1)"}}])),
        completion(chunk(tool_calls=[{"index": 0, **call}]), chunk(tool_calls=[more]), chunk("tool_calls")),
    ):
        (found,) = answer.tool_calls
        assert (found.type, found.name, found.arguments) == ("custom", "run", "print(1)")


def test_a_whole_message_after_its_pieces_adds_nothing():
    message = {"role": "assistant", "content": "Paris", "tool_calls": [entry(0, "a", "f", "{}")]}
    first = chunk(content="Paris", tool_calls=[entry(0, "a", "f", "{}")])
    for delta in ({}, {"role": "assistant", "content": ""}):
        last = chunk("stop", choice={"message": message}, **delta)
        answer = completion(first, last)
        assert (answer.text, len(answer.tool_calls)) == ("Paris", 1)
        assert completion(last).text == "Paris"


def test_a_whole_message_beside_an_empty_delta_is_the_answer():
    answer = whole(content="Paris", choice={"delta": {"role": "assistant", "content": ""}})
    assert [piece for piece in openai_chat.answer_pieces(answer) if isinstance(piece, str)] == ["Paris"]


# --- characters that are cut apart -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["content", "reasoning", "refusal"])
def test_the_halves_of_a_character_are_joined(field):
    cut = ["a\ud83d", "\ude00b", "c", "\ud83d\ude00", "\ud83d"]
    answer = completion(*(chunk(**{field: text}) for text in cut), chunk("stop"))
    found = {"content": answer.text, "reasoning": answer.reasoning, "refusal": answer.refusal}[field]
    assert found == "a😀bc😀\ud83d"


def test_the_halves_of_a_character_in_arguments_are_joined():
    pieces = ['{"x":"\ud83d', '\ude00"}']
    answer = completion(*(chunk(tool_calls=[entry(0, "a", "f", text)]) for text in pieces), chunk("stop"))
    assert called(answer) == [("f", '{"x":"😀"}')]


# --- counts ----------------------------------------------------------------------------------------------------------------

COUNTS = {
    "openai": (
        {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
         "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 2},
         "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 1, "accepted_prediction_tokens": 6}},
        {"cached_tokens": 4, "input_audio_tokens": 2, "reasoning_tokens": 3, "output_audio_tokens": 1, "stated_total": 14},
    ),
    "openrouter": (
        {"prompt_tokens": 9, "completion_tokens": 5, "cost": 0.25, "cost_details": {"upstream": 0.1},
         "prompt_tokens_details": {"cache_write_tokens": 3}},
        {"cost": 0.25, "cache_write_tokens": 3},
    ),
    "deepseek": ({"prompt_tokens": 9, "completion_tokens": 5, "prompt_cache_hit_tokens": 4}, {"cached_tokens": 4}),
    "vllm": ({"prompt_tokens": 9, "completion_tokens": 5, "num_cached_tokens": 4}, {"cached_tokens": 4}),
    "moonshot": ({"prompt_tokens": 9, "completion_tokens": 5, "cached_tokens": 4}, {"cached_tokens": 4}),
    "perplexity": ({"prompt_tokens": 9, "completion_tokens": 5, "cost": {"total_cost": 0.5}, "reasoning_tokens": 2},
        {"cost": 0.5, "reasoning_tokens": 2}),
    "deepinfra": ({"prompt_tokens": 9, "completion_tokens": 5, "estimated_cost": 1e-6}, {"cost": 1e-6}),
    "xai, cost": ({"prompt_tokens": 9, "completion_tokens": 5, "cost_in_usd_ticks": 1721250}, {"cost": 0.000172125}),
    "xai": (
        {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 14, "completion_tokens_details": {"reasoning_tokens": 3}},
        {"reasoning_tokens": 3, "stated_total": 14},
    ),
    "vercel": (
        {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 4}},
        {"reasoning_tokens": 4, "stated_total": 10},
    ),
    "openrouter, estimate": (
        {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "reasoning_tokens": 6},
        {"reasoning_tokens": 6, "stated_total": 14},
    ),
    "portkey, claude": (
        {"prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 4},
         "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3},
        {"cached_tokens": 4, "cache_write_tokens": 3, "stated_total": 14},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "counts"), COUNTS.values(), ids=COUNTS)
def test_counts_have_one_meaning_at_every_vendor(said, counts):
    for top, choice in (({"usage": said}, {}), ({"x_groq": {"usage": said}}, {}), ({}, {"usage": said})):
        for answer in (
            completion(whole(content="x", top=top, choice=choice)),
            completion(chunk(content="x"), chunk("stop", top=top, choice=choice)),
        ):
            others = answer.usage.others
            assert answer.usage == Usage(9, 5, **counts, others=others)
            assert others["prompt_tokens"] == said["prompt_tokens"]
            assert not any(isinstance(value, dict) for value in others.values())
    assert COUNTS["openai"][0]["completion_tokens_details"]["accepted_prediction_tokens"] == 6


# --- what goes back ----------------------------------------------------------------------------------------------------------


def test_a_plain_answer_has_no_turn():
    for answer in both({"content": "x", "reasoning": "hm"}):
        assert (answer.reasoning, answer.turn) == ("hm", None)


def test_reasoning_details_go_back_whole():
    parts = [
        {"type": "reasoning.text", "text": "Two and", "index": 0, "format": "f"},
        {"type": "reasoning.text", "text": " two.", "index": 0},
        {"type": "reasoning.text", "signature": "s", "index": 0},
        {"type": "reasoning.encrypted", "data": "ZW5j", "index": 1},
    ]
    joined = [{"type": "reasoning.text", "text": "Two and two.", "index": 0, "format": "f", "signature": "s"}, parts[3]]
    for answer in (
        completion(whole(content="4", reasoning_details=joined)),
        completion(*(chunk(content="", reasoning_details=[part]) for part in parts), chunk(content="4"), chunk("stop")),
    ):
        assert conversation([sent_back(answer)]) == [{"role": "assistant", "content": "4", "reasoning_details": joined}]


def test_thought_signatures_of_tool_calls_go_back():
    extra = {"google": {"thought_signature": "s"}}
    entries = [{**entry(0, "a", "f", '{"x":1}'), "extra_content": extra}, entry(1, "b", "g", "{}")]
    for answer in (
        completion(whole("tool_calls", tool_calls=entries)),
        completion(*(chunk(tool_calls=[one]) for one in entries), chunk("stop")),
    ):
        first, second = conversation([sent_back(answer)])[0]["tool_calls"]
        assert first == {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}, "extra_content": extra}
        assert second == {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_goes_back_within_a_loop_of_tool_calls(key):
    answer = completion(
        *(chunk(**{key: text}) for text in ("I ", "look", " it up")),
        chunk(tool_calls=[entry(0, "a", "f", "{}")]),
        chunk("stop"),
    )
    (message,) = conversation([sent_back(answer)])
    assert (message[key], message["content"]) == ("I look it up", None)


def test_parts_of_thinking_are_reasoning_and_go_back_before_the_text():
    def think(text):
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}

    for answer in (
        completion(whole(content=[think("Two and two."), {"type": "text", "text": "4"}])),
        completion(chunk(content=[think("Two and")]), chunk(content=[think(" two.")]), chunk(content="4"), chunk("stop")),
    ):
        assert (answer.text, answer.reasoning) == ("4", "Two and two.")
        assert conversation([sent_back(answer)])[0]["content"] == [think("Two and two."), {"type": "text", "text": "4"}]


# --- requests ----------------------------------------------------------------------------------------------------------------


def body(messages=({"role": "user", "content": "Hi"},), /, **fields):
    return openai_chat.request_body(Request("m", messages, **fields))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"reasoning": "low"}, {"reasoning_effort": "low"}),
        ({"reasoning": 0}, {"reasoning_effort": "none"}),
        ({"reasoning": 2048}, {"reasoning_effort": "low"}),
        ({"reasoning": 5000}, {"reasoning_effort": "medium"}),
        ({"reasoning": 9000}, {"reasoning_effort": "high"}),
        ({"max_tokens": 0}, {"max_tokens": 0}),
        ({"tool_choice": "any"}, {"tool_choice": "required"}),
        (
            {"tool_choice": {"type": "custom", "custom": {"name": "f"}}},
            {"tool_choice": {"type": "custom", "custom": {"name": "f"}}},
        ),
        ({"tool_choice": {"type": "allowed_tools"}}, {"tool_choice": {"type": "allowed_tools"}}),
    ],
    ids=repr,
)
def test_keywords_are_translated(asked, said):
    found = body(**asked)
    assert {name: found[name] for name in found if name not in {"model", "messages"}} == said


def test_nothing_of_another_vendor_is_sent():
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "?", "cache_control": {}}, image]},
        {"role": "assistant", "content": [thinking, {"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "!"}]},
        {"role": "tool", "tool_call_id": "a", "content": "no", "is_error": True},
    ]
    assert body(messages)["messages"] == [
        messages[0],
        {"role": "assistant", "content": [{"type": "text", "text": "!"}]},
        {"role": "tool", "tool_call_id": "a", "content": "no"},
    ]
    found = openai_chat.request_body(
        Request("m", messages, tools=[{"type": "function", "cache_control": {}}]), unwanted=UNWANTED | {"cache_control"}
    )
    assert "cache_control" not in json.dumps(found)
    assert messages[2]["is_error"] is True


@pytest.mark.parametrize(("arguments", "text"), [({"x": 1}, '{"x": 1}'), (None, "{}"), ("", "{}"), ("{", "{")])
def test_arguments_are_json_text(arguments, text):
    messages = [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}],
        },
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": arguments}},
    ]
    first, second = body(messages)["messages"]
    assert first["tool_calls"][0]["function"]["arguments"] == second["function_call"]["arguments"] == text


def test_images_of_results_follow_the_results():
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    messages = [
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "a map"}, image]},
        {"role": "tool", "tool_call_id": "b", "content": [image]},
        {"role": "user", "content": "?"},
    ]
    first, second, pictures, last = body(messages)["messages"]
    assert (first["content"], last) == ([{"type": "text", "text": "a map"}], messages[2])
    assert isinstance(second["content"], str)
    assert [part["type"] for part in pictures["content"]] == ["text", "image_url", "text", "image_url"]
    assert body(messages[:1])["messages"][1]["content"][1] == image


def test_identifiers_are_rewritten_alike_in_call_and_result():
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "toolu_01-long"}, {"id": "abcdefgh9"}]},
        {"role": "tool", "tool_call_id": "toolu_01-long", "content": ""},
        {"role": "tool", "tool_call_id": "abcdefgh9", "content": ""},
    ]
    calls, one, two = with_call_ids(messages, "[a-zA-Z0-9]{9}", 9)
    assert calls["tool_calls"][0]["id"] == one["tool_call_id"] != "toolu_01-long"
    assert len(one["tool_call_id"]) == 9
    assert calls["tool_calls"][1]["id"] == two["tool_call_id"] == "abcdefgh9"


# --- errors ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        [{"error": {"code": 400, "message": "bad"}}],
        {"type": "overloaded_error"},
        {"errors": [{"message": "bad"}]},
        {"msg": "bad"},
        {"choices": [{"delta": {}, "error": {"code": 502, "message": "bad"}}]},
        {"choices": [], "x_groq": {"error": "bad"}},
    ],
    ids=json.dumps,
)
def test_errors_in_every_shape_are_errors(answer):
    with pytest.raises(ProviderError) as caught:
        ChunkReader().parsed(json.dumps(answer).encode())
    assert not isinstance(caught.value, ProtocolError)


def test_a_value_that_is_nested_too_deeply_is_an_error_of_the_protocol():
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"x": deep}
    with pytest.raises(ProtocolError):
        list(openai_chat.ChatAnswer().pieces({"choices": [], "x": deep}))


def test_details_are_told_at_the_end_of_a_stream_and_who_answers_at_once():
    reader = ChunkReader()
    assert Detail("id", "c-1") in reader.parsed(json.dumps(chunk(content="x", top={"x": 1})).encode())
    assert reader.end() == [Detail("x", 1)]
    assert ToolCallDelta(0, None, None, "{}") not in reader.end()


def test_parts_of_the_content_are_all_kept():
    image = {"type": "image_url", "image_url": {"url": "https://a/b.png"}}
    note = {"type": "url_citation", "url_citation": {"url": "https://a"}}
    content = [
        {"type": "text", "text": "a", "annotations": [note]},
        {"type": "reference", "reference_ids": [1]},
        image,
        {"type": "video", "video": "v"},
        {"type": "text", "text": ""},
        {"type": None},
    ]
    for answer in (completion(whole(content=content)), completion(*(chunk(content=[part]) for part in content), chunk("stop"))):
        assert (answer.text, answer.media, answer.details["content"]) == (
            "a",
            (Media("image", url="https://a/b.png"),),
            [content[3]],
        )
        assert [one.url for one in answer.citations] == ["https://a", None]
        assert answer.citations[1].source == {"type": "reference", "reference_ids": [1]}
    with pytest.raises(ProtocolError):
        completion(whole(content=[5]))


def test_a_text_of_thinking_is_reasoning():
    assert completion(whole(content=[{"type": "thinking", "thinking": "hm"}, "x"])).reasoning == "hm"


def test_unknown_fields_of_streamed_messages_are_joined():
    chunks = [chunk(x=[{"index": 0, "a": "b"}]), chunk(x=[{"index": 0, "a": "c"}, 5]), chunk(x=[7])]
    assert completion(*chunks, chunk("stop")).details["x"] == [{"index": 0, "a": "bc"}, 5, 7]
    chunks = [chunk(x={"a": 1, "b": None}), chunk(x={"a": 2, "b": 3})]
    assert completion(*chunks, chunk("stop")).details["x"] == {"a": 2, "b": 3}


def test_an_error_of_a_further_choice_is_an_error():
    with pytest.raises(ProviderError):
        completion(chunk(choice={"index": 1, "error": {"message": "bad", "code": 502}}))


def test_unknown_fields_of_a_function_go_back():
    function = {"name": "f", "arguments": "{}", "thought_signature": "s"}
    answer = completion(whole("tool_calls", tool_calls=[{"id": "a", "function": function}]))
    assert conversation([sent_back(answer)])[0]["tool_calls"][0]["function"] == function


def test_arguments_that_only_look_complete_go_on():
    answer = completion(
        *(chunk(tool_calls=[entry(0, *one)]) for one in (("a", "f", '{"x":{}'), (None, None, "{"))), chunk("stop")
    )
    assert called(answer) == [("f", '{"x":{}{')]


def test_messages_that_need_no_change_stay():
    custom = {"id": "a", "type": "custom", "custom": {"name": "run", "input": "1"}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [custom]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "x"}]},
        {"role": "user", "content": "?"},
    ]
    assert body(messages)["messages"] == messages
    found = openai_chat.request_body(Request("m", messages), call_ids=("[0-9]{3}", 3))["messages"]
    assert found[0]["tool_calls"][0]["id"] == found[1]["tool_call_id"] != "a"
    assert found[2] == messages[2]


def test_a_cost_that_is_no_number_is_kept_as_it_came():
    counts = completion(
        whole(content="x", top={"usage": {"prompt_tokens": 1, "cost": "0.1", "x": None, "total_cost": 10**400}})
    ).usage
    assert (counts.cost, counts.others["cost"], "x" in counts.others) == (None, "0.1", False)
