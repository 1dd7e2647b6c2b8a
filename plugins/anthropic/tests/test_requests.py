"""The JSON object that the plugin writes for a request."""

import base64
import copy
import json
import re

import pytest

from providerhub import CapabilityError, InvalidRequestError, Request
from providerhub_anthropic._body import asked
from providerhub_anthropic._models import MODELS, described

MODEL = "claude-opus-4-8"
OLD = "claude-haiku-4-5"
USER = {"role": "user", "content": "?"}
CACHE = {"type": "ephemeral"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
JPEG = base64.b64encode(bytes.fromhex("ffd8ffe000104a46494600010100000100010000")).decode()
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def request(messages=(USER,), model=MODEL, **knobs):
    return Request(model, messages, **knobs)


def body(messages=(USER,), model=MODEL, **knobs):
    return asked(request(messages, model, **knobs)).body


def talk(*messages, model=MODEL):
    """Role and blocks of each message that is sent; of a text, its text alone."""
    found = body(messages, model)["messages"]
    return [
        (one["role"], [block["text"] if block.keys() == {"type", "text"} else block for block in one["content"]]) for one in found
    ]


def call(identifier, arguments="{}", name="f"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def said(*calls, content=None, **fields):
    return {"role": "assistant", "content": content, "tool_calls": list(calls), **fields}


def result(identifier, content="7", **fields):
    return {"role": "tool", "tool_call_id": identifier, "content": content, **fields}


def system(text, **fields):
    return {"role": "system", "content": text, **fields}


def refused(*messages, model=MODEL, match, error=InvalidRequestError, **knobs):
    with pytest.raises(error, match=match):
        body(messages or (USER,), model, **knobs)


# The turn


THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}


def test_a_turn_takes_the_place_of_its_message():
    own = [THINKING, {"type": "text", "text": "Look. "}, USE]
    messages = [USER, said(call("toolu_1"), content="Look. ", turn=own), result("toolu_1"), USER]
    before = copy.deepcopy(messages)
    found = body(messages)["messages"]
    assert found[1] == {"role": "assistant", "content": own}
    assert found[2]["content"][0]["tool_use_id"] == "toolu_1"
    assert messages == before


def test_a_turn_at_the_end_is_carried_on():
    use = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    assert body([USER, said(content="", turn=[THINKING, use])])["messages"][-1]["content"] == [THINKING, use]
    paused = [use, {"type": "text", "text": "So far \n"}]
    messages = [USER, said(content="So far \n", turn=paused)]
    assert body(messages)["messages"][-1]["content"] == [use, {"type": "text", "text": "So far"}]
    assert paused[1]["text"] == "So far \n"


def test_the_container_of_a_turn_goes_into_its_own_field():
    turns = [said(content="a", turn=[{"type": "text", "text": "a"}, {"type": "container", "id": name}]) for name in ("c1", "c2")]
    messages = [USER, turns[0], USER, turns[1], USER]
    found = body(messages)
    assert found["container"] == "c2"
    assert [one["content"][0]["type"] for one in found["messages"]] == ["text"] * 5
    assert body(messages, options={"container": "own"})["container"] == "own"
    assert "container" not in body(messages, options={"container": None})


@pytest.mark.parametrize("turn", [{"content": []}, "x", [5]])
def test_a_turn_of_another_shape_is_not_read(turn):
    assert talk(USER, said(content="a", turn=turn), USER)[1] == ("assistant", ["a"])


def test_the_mark_for_caching_of_a_message_is_not_put_on_thinking():
    found = body([USER, said(call("toolu_1"), turn=[USE, THINKING], cache_control=CACHE), result("toolu_1")])["messages"]
    assert found[1]["content"] == [{**USE, "cache_control": CACHE}, THINKING]


# System messages


def test_system_messages_at_the_beginning_are_the_system_prompt():
    found = body([system("a"), {"role": "developer", "content": "b"}, system(" "), USER])
    assert [block["text"] for block in found["system"]] == ["a", "b"]


def test_system_messages_in_mid_conversation_follow_the_user_s_turn():
    answer = {"role": "assistant", "content": "1"}
    assert talk(USER, system("French."), answer, USER) == [
        ("user", ["?"]), ("system", ["French."]), ("assistant", ["1"]), ("user", ["?"]),
    ]  # fmt: skip
    assert talk(USER, answer, USER, system("a"), system("b"))[-1] == ("system", ["a", "b"])
    assert talk(USER, said(call("a")), result("a"), system("French."))[-1] == ("system", ["French."])


def test_a_system_message_before_the_user_s_turn_is_noted():
    messages = [USER, {"role": "assistant", "content": "1"}, system("a"), {"role": "user", "content": "Two?"}]
    found = asked(request(messages))
    assert [one["role"] for one in found.body["messages"]] == ["user", "assistant", "user", "system"]
    assert "system" not in found.body
    assert [note for note in found.notes if "system message" in note]
    assert not asked(request([USER, system("a"), {"role": "assistant", "content": "1"}, USER])).notes


@pytest.mark.parametrize("model", ["claude-opus-4-8", "claude-sonnet-5", "claude-fable-5-2", "claude-opus-7", "glm-9"])
def test_models_that_take_a_system_message_in_mid_conversation(model):
    assert talk(USER, system("a"), model=model)[-1] == ("system", ["a"])


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-sonnet-4-6", "anthropic.claude-haiku-4-5-20251001-v1:0"])
def test_older_models_refuse_a_system_message_in_mid_conversation(model):
    refused(
        USER,
        system("a"),
        model=model,
        error=CapabilityError,
        match=r"messages\[1\].*takes system messages at the beginning only; move",
    )


def test_a_system_message_between_two_answers_is_refused():
    answer = {"role": "assistant", "content": "1"}
    refused(USER, answer, system("a"), answer, match=r"messages\[3\].*only after a message of the user")
    refused(USER, answer, system("a"), match="only after a message of the user")


def test_a_system_message_may_follow_the_result_of_a_server_tool():
    """The service answers such a conversation; a recording of it is public."""
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "sky"}}
    sent = talk(USER, said(turn=[search, found]), system("a"), {"role": "assistant", "content": "1"}, USER)
    assert [role for role, _ in sent] == ["user", "assistant", "system", "assistant", "user"]


# Texts


@pytest.mark.parametrize("blank", ["", " ", "\n\n", [{"type": "text", "text": " "}]])
def test_blank_texts_are_left_out(blank):
    assert talk(USER, {"role": "assistant", "content": blank}, USER) == [("user", ["?", "?"])]
    assert talk({"role": "user", "content": blank}, USER) == [("user", ["?"])]
    assert talk(USER, said(call("a"), content=blank), result("a", blank))[1:] == [
        ("assistant", [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]),
        ("user", [{"type": "tool_result", "tool_use_id": "a", "content": []}]),
    ]
    refused({"role": "user", "content": blank}, match="add a message of the user")


@pytest.mark.parametrize(
    ("contents", "kept", "tail"),
    [(["  "], None, "  "), (["Hm \n"], ["Hm"], " \n"), (["Hm ", " "], ["Hm"], "  "), (["Hm"], ["Hm"], "")],
)
def test_white_space_at_the_end_of_a_partial_answer_is_held_back(contents, kept, tail):
    parts = [{"type": "text", "text": text} for text in contents]
    found = asked(request([USER, {"role": "assistant", "content": parts}], OLD))
    said = [[block["text"] for block in one["content"]] for one in found.body["messages"] if one["role"] == "assistant"]
    assert (said, found.tail) == ([kept] if kept else [], tail)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "thinking", "thinking": "Hm."},
        {"type": "thinking", "thinking": [], "signature": ""},
        {"type": "reasoning", "text": "x"},
    ],
)
def test_thinking_of_other_vendors_is_left_out(part):
    assert talk(USER, {"role": "assistant", "content": [part, {"type": "text", "text": "a"}]}, USER)[1] == ("assistant", ["a"])


def test_thinking_with_a_signature_is_sent():
    assert talk(USER, {"role": "assistant", "content": [THINKING]}, USER)[1] == ("assistant", [THINKING])


# Tool calls and results


@pytest.mark.parametrize("arguments", ["", " ", "null", "[]", '""', "{}", None, {}])
def test_no_arguments_are_an_empty_object(arguments):
    assert talk(USER, said(call("a", arguments)), result("a"))[1][1][0]["input"] == {}


def test_arguments_that_are_an_object_already():
    assert talk(USER, said(call("a", {"x": 1})), result("a"))[1][1][0]["input"] == {"x": 1}


@pytest.mark.parametrize("arguments", ["5", '"x"', "[1]", "true", '{"city": "Os'])
def test_a_conversation_goes_on_after_arguments_that_are_no_object(arguments):
    assert talk(USER, said(call("a", arguments)), result("a"))[1][1][0]["input"] == {"input": arguments}


def ids(*messages):
    blocks = [block for one in body(messages)["messages"] for block in one["content"]]
    return [block["id"] for block in blocks if block["type"] == "tool_use"], [
        block["tool_use_id"] for block in blocks if block["type"] == "tool_result"
    ]


@pytest.mark.parametrize(
    "given",
    [
        ["toolu_1", "call-2"],
        ["functions.f:0", "functions_f_0", "functions.f:1"],
        ["x" * 65, "x" * 64],
        ["ключ", "____"],
        ["a", "a", "a"],
        ["a:", "a:"],
    ],
)
def test_identifiers_are_rewritten_alike_in_call_and_result(given):
    uses, results = ids(USER, said(*map(call, given)), *map(result, given))
    assert uses == results
    assert len(set(uses)) == len(given)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in uses)
    assert [one for one in given if re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) and given.count(one) == 1 and one not in uses] == []


def test_identifiers_that_a_vendor_uses_again_in_each_answer():
    uses, results = ids(USER, said(call("c0"), call("c1")), result("c0"), result("c1"), said(call("c0")), result("c0"), USER)
    assert uses == results
    assert uses[:2] == ["c0", "c1"]
    assert len(set(uses)) == 3


def test_a_longer_conversation_changes_no_earlier_message():
    before = [USER, said(call("f:0")), result("f:0")]
    longer = [*before, said(call("f_0")), result("f_0")]
    assert talk(*longer)[: len(before)] == talk(*before)


def test_an_identifier_beside_a_turn_is_not_used_again():
    uses, results = ids(USER, said(call("toolu_1"), turn=[USE]), result("toolu_1"), said(call("toolu_1")), result("toolu_1"))
    assert uses == results
    assert uses[0] == "toolu_1" != uses[1]


@pytest.mark.parametrize("names", [(None, None), ("a", "a")])
def test_calls_of_a_turn_have_the_identifiers_of_the_message(names):
    turn = [THINKING, *({**USE, "id": name} for name in names)]
    uses, results = ids(USER, said(call("a"), call("call_9"), turn=turn), result("a"), result("call_9"))
    assert uses == results == ["a", "call_9"]
    assert [block.get("id") for block in turn[1:]] == list(names)


def test_the_shape_of_2023_is_taken():
    legacy = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x": 1}'}}
    answer = {"role": "function", "name": "f", "content": "7"}
    found = body([USER, legacy, answer, legacy, answer])["messages"]
    assert [one["role"] for one in found] == ["user", "assistant", "user", "assistant", "user"]
    assert found[1]["content"][0] == {"type": "tool_use", "id": "function_f", "name": "f", "input": {"x": 1}}
    assert ids(USER, legacy, answer, legacy, answer) == (["function_f", "function_f_2"],) * 2


def test_a_call_of_a_custom_tool_of_another_vendor():
    custom = {"id": "a", "type": "custom", "custom": {"name": "f", "input": "free text"}}
    assert talk(USER, said(custom), result("a"))[1][1][0]["input"] == {"input": "free text"}


def test_a_result_keeps_its_images_its_failure_and_its_mark():
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]
    (block,) = talk(USER, said(call("a")), result("a", content, is_error=True, cache_control=CACHE))[-1][1]
    assert (block["is_error"], block["cache_control"]) == (True, CACHE)
    assert [part["type"] for part in block["content"]] == ["text", "image"]


def test_results_stand_in_front_of_other_blocks():
    picture = {"role": "user", "content": "the picture"}
    found = talk(USER, said(call("a"), call("b")), result("a"), picture, result("b"), {"role": "user", "content": "And?"})
    assert [block if isinstance(block, str) else block["tool_use_id"] for block in found[-1][1]] == [
        "a",
        "b",
        "the picture",
        "And?",
    ]


def test_keys_without_a_place_are_noted():
    messages = [
        {**USER, "name": "bob"},
        {"role": "assistant", "content": "a", "audio": {"id": "x"}, "name": None},
        {**USER, "name": "bob"},
    ]
    notes = asked(request(messages)).notes
    assert len(notes) == 2
    assert "'name' of a message" in notes[0]
    assert "'audio' of a message" in notes[1]


def test_marks_for_caching():
    part = {"type": "text", "text": "a", "cache_control": CACHE}
    marked = {"type": "text", "text": "b", "cache_control": {**CACHE, "ttl": "1h"}}
    messages = [
        system("s", cache_control=CACHE),
        {"role": "user", "content": [part]},
        {"role": "user", "content": "b", "cache_control": marked["cache_control"]},
    ]
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}, "cache_control": CACHE}
    found = body(messages, tools=[tool])
    assert found["system"] == [{"type": "text", "text": "s", "cache_control": CACHE}]
    assert found["messages"][0]["content"] == [part, marked]
    assert found["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}, "cache_control": CACHE}]


def test_a_tool_keeps_all_that_it_says():
    function = {"name": "f", "description": "d", "parameters": {"properties": {}}, "strict": True, "input_examples": [{}]}
    tool = {"type": "function", "function": function, "defer_loading": True}
    assert body(tools=[tool])["tools"] == [
        {
            "name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}, "additionalProperties": False},
            "strict": True, "input_examples": [{}], "defer_loading": True,
        }
    ]  # fmt: skip
    own = {"type": "custom", "name": "f", "input_schema": {"type": "object"}}
    assert body(tools=[own])["tools"] == [own]


def test_a_tool_of_free_text_is_refused():
    refused(tools=[{"type": "custom", "custom": {"name": "f"}}], match="'f' takes free text", error=CapabilityError)


TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        ("any", None, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, True, {"type": "auto", "disable_parallel_tool_use": False}),
        ("none", False, {"type": "none"}),
        (
            {"type": "function", "function": {"name": "f"}},
            False,
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        ),
        ({"type": "auto", "disable_parallel_tool_use": True}, True, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, None, None),
    ],
)
def test_the_choice_of_a_tool(choice, parallel, expected, with_fields):
    found = with_fields(request(tools=[TOOL], tool_choice=choice), parallel_tool_calls=parallel)
    assert asked(found).body.get("tool_choice") == expected


def test_parallel_calls_without_tools_say_nothing(with_fields):
    assert "tool_choice" not in asked(with_fields(request(), parallel_tool_calls=False)).body


# Images and documents


def url(kind, data):
    return f"data:{kind};base64,{data}"


def source(part):
    (block,) = body([{"role": "user", "content": [part]}])["messages"][0]["content"]
    return block["type"], block["source"]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (url("image/png", PNG), "image/png"),
        (url("image/jpg", JPEG), "image/jpeg"),
        (url("IMAGE/PJPEG", JPEG), "image/jpeg"),
        (url("image/jpg", "AAAA"), "image/jpeg"),
        (url("image/png", JPEG), "image/jpeg"),
        (url("application/octet-stream", PNG), "image/png"),
        (f"data:;base64,{PNG}", "image/png"),
        (url("image/gif;charset=x", base64.b64encode(b"GIF89a1234567").decode()), "image/gif"),
    ],
)
def test_images_have_the_media_type_of_their_bytes(given, kind):
    for part in ({"type": "image_url", "image_url": {"url": given}}, {"type": "file", "file": {"file_data": given}}):
        found, where = source(part)
        assert (found, where["media_type"], where["data"]) == ("image", kind, given.partition("base64,")[2])


def test_documents():
    pdf = base64.b64encode(b"%PDF-1.7").decode()
    text = base64.b64encode("Grüße".encode()).decode()
    plain = {"type": "text", "media_type": "text/plain", "data": "Grüße"}
    assert source({"type": "file", "file": {"file_data": url("application/pdf", pdf)}})[1]["data"] == pdf
    assert source({"type": "image_url", "image_url": {"url": url("application/pdf", pdf)}})[0] == "document"
    for kind in ("text/plain", "text/markdown;charset=utf-8", "application/json"):
        assert source({"type": "file", "file": {"file_data": url(kind, text)}}) == ("document", plain)
    assert source({"type": "file", "file": {"file_data": "https://a.example/b.pdf"}}) == (
        "document", {"type": "url", "url": "https://a.example/b.pdf"},
    )  # fmt: skip
    assert source({"type": "file", "file": {"file_id": "file_1"}}) == ("document", {"type": "file", "file_id": "file_1"})


def test_a_document_keeps_its_name_and_its_marks():
    file = {"file_data": url("text/plain", "YQ=="), "filename": "a.txt"}
    part = {"type": "file", "file": file, "citations": {"enabled": True}, "cache_control": CACHE, "context": "c"}
    (block,) = body([{"role": "user", "content": [part]}])["messages"][0]["content"]
    assert (block["title"], block["citations"], block["cache_control"], block["context"]) == (
        "a.txt",
        {"enabled": True},
        CACHE,
        "c",
    )


@pytest.mark.parametrize(
    ("part", "named", "error"),
    [
        ({"type": "image_url", "image_url": {"url": url("image/bmp", "AAAA")}}, "image/bmp; it takes JPEG", CapabilityError),
        ({"type": "file", "file": {"file_data": url("application/msword", "AAAA")}}, "application/msword", CapabilityError),
        ({"type": "file", "file": {"file_data": url("text/plain", "/w==")}}, "not UTF-8", InvalidRequestError),
        ({"type": "image_url", "image_url": {"url": url("image/png", "A")}}, "valid base64", InvalidRequestError),
        ({"type": "file", "file": {}}, "expected an https:// address", InvalidRequestError),
        ({"type": "input_audio", "input_audio": {}}, "audio", CapabilityError),
        ({"type": "video_url", "video_url": {"url": "https://a.example/a.mp4"}}, "video", CapabilityError),
    ],
)
def test_parts_that_the_api_does_not_take_are_named(part, named, error):
    match = rf"messages\[0\]\['content'\]\[0\]: .*{re.escape(named)}"
    refused({"role": "user", "content": [part]}, match=match, error=error)


# Thinking


@pytest.mark.parametrize(
    ("model", "reasoning", "thinking", "effort"),
    [
        ("claude-opus-5-5", "high", {"type": "adaptive", "display": "summarized"}, "high"),
        ("claude-opus-4-6", "minimal", {"type": "adaptive", "display": "summarized"}, "low"),
        ("claude-sonnet-4-6", 5000, {"type": "enabled", "budget_tokens": 5000}, None),
        ("claude-sonnet-5", 5000, {"type": "adaptive", "display": "summarized"}, "medium"),
        ("claude-haiku-4-5", "minimal", {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-haiku-4-5", "medium", {"type": "enabled", "budget_tokens": 8192}, None),
        ("claude-haiku-4-5", 10, {"type": "enabled", "budget_tokens": 1024}, None),
        ("anthropic/claude-sonnet-4.5", "low", {"type": "enabled", "budget_tokens": 2048}, None),
        ("us.anthropic.claude-opus-4-5-20251101-v1:0", "low", {"type": "enabled", "budget_tokens": 2048}, None),
        ("glm-9", "low", {"type": "enabled", "budget_tokens": 2048}, None),
        ("claude-opus-4-8", "none", None, None),
        ("claude-haiku-4-5", "none", None, None),
        ("claude-opus-5", "none", {"type": "disabled"}, None),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        ("claude-haiku-5-5", "none", {"type": "disabled"}, None),
        ("glm-9", "none", {"type": "disabled"}, None),
    ],
)
def test_reasoning_is_translated_by_model(model, reasoning, thinking, effort):
    found = body(model=model, reasoning=reasoning)
    assert found.get("thinking") == thinking
    assert found.get("output_config") == ({"effort": effort} if effort else None)


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-fable-5-2", "claude-mythos-5-1"])
def test_a_model_that_always_thinks_says_so(model):
    refused(model=model, reasoning="none", error=CapabilityError, match="always thinks: ask for reasoning='minimal'")


def test_tokens_that_became_an_effort_are_noted():
    assert "50000 became the effort 'high'" in asked(request(reasoning=50000)).notes[0]
    assert not asked(request(reasoning="high")).notes


@pytest.mark.parametrize(("max_tokens", "budget"), [(None, 16384), (64000, 16384), (4000, 2000), (1025, 1024)])
def test_the_budget_of_a_level_leaves_room_for_the_answer(max_tokens, budget):
    assert body(model=OLD, reasoning="high", max_tokens=max_tokens)["thinking"]["budget_tokens"] == budget


@pytest.mark.parametrize(
    ("knobs", "thinking", "note"),
    [
        ({"reasoning": "low", "max_tokens": 500}, None, "reasoning was left out"),
        ({"reasoning": "low", "max_tokens": 0}, None, "reasoning was left out"),
        ({"reasoning": 8000, "max_tokens": 500}, None, "reasoning was left out"),
        ({"reasoning": 8000, "max_tokens": 4000}, {"type": "enabled", "budget_tokens": 3999}, "8000 became 3999"),
        ({"reasoning": 90000}, {"type": "enabled", "budget_tokens": 63999}, "90000 became 63999"),
    ],
)
def test_a_budget_for_thinking_is_less_than_max_tokens(knobs, thinking, note):
    found = asked(request(model=OLD, **knobs))
    assert found.body.get("thinking") == thinking
    assert note in found.notes[0]


@pytest.mark.parametrize(("model", "off"), [(OLD, None), (MODEL, None), ("claude-sonnet-5", {"type": "disabled"})])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_forced_tool_comes_before_thinking(model, off, choice):
    found = asked(request(model=model, reasoning="high", tools=[TOOL], tool_choice=choice))
    assert found.body.get("thinking") == off
    assert found.body["tool_choice"]["type"] in {"any", "tool"}
    assert "the thinking was left out" in found.notes[0]


@pytest.mark.parametrize("model", [OLD, MODEL])
def test_a_tool_that_the_model_may_choose_leaves_it_its_thinking(model):
    found = asked(request(model=model, reasoning="high", tools=[TOOL], tool_choice="auto"))
    assert "thinking" in found.body
    assert not found.notes


@pytest.mark.parametrize(("name", "refused_values", "taken"), [("temperature", (0, 0.5), 1), ("top_p", (0.5,), 0.95)])
@pytest.mark.parametrize("model", [OLD, MODEL])
def test_sampling_that_thinking_excludes_is_left_out_with_a_note(model, name, refused_values, taken):
    for value in refused_values:
        found = asked(request(model=model, reasoning="high", **{name: value}))
        assert name not in found.body
        assert f"no {name} of {value} while it thinks" in found.notes[0]
        assert body(model=model, **{name: value})[name] == body(model="glm-9", reasoning="high", **{name: value})[name] == value
    assert body(model=model, reasoning="high", **{name: taken})[name] == taken


@pytest.mark.parametrize("model", [MODEL, "claude-sonnet-5-5"])
def test_a_partial_answer_is_refused_for_a_model_that_continues_none(model):
    messages = USER, {"role": "assistant", "content": "Once"}
    refused(*messages, model=model, match="continues no partial answer", error=CapabilityError)
    for other in (OLD, "glm-9"):
        assert body(messages, other)["messages"][-1]["role"] == "assistant"


# The answer's length and form, and options


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-opus-5-5", 128_000), ("claude-sonnet-4-6", 128_000), ("claude-haiku-4-5-20251001", 64_000),
        ("claude-opus-9", 64_000),
        ("claude-opus-4-1", 32_000), ("claude-3-7-sonnet-latest", 64_000), ("claude-3-5-haiku-latest", 8192),
        ("claude-3-haiku-20240307", 4096), ("claude-mythos-preview", 64_000), ("glm-9", 4096),
    ],
)  # fmt: skip
def test_an_answer_may_have_the_model_s_own_maximum(model, expected):
    assert body(model=model)["max_tokens"] == expected
    assert body(model=model, max_tokens=0)["max_tokens"] == 0
    assert body(model=model, options={"max_tokens": 5})["max_tokens"] == 5
    assert asked(request(model=model), max_tokens=7, most=9).body["max_tokens"] == 7
    assert asked(request(model=model), most=9).body["max_tokens"] == 9


NAMED = [model for model in MODELS if not model.is_prefix]


@pytest.mark.parametrize("model", NAMED, ids=str)
def test_a_model_declares_the_most_tokens_that_are_sent_for_it(model):
    assert (
        body(model=model.name)["max_tokens"] == body(model=model.name, reasoning="high")["max_tokens"] == model.max_output_tokens
    )


@pytest.mark.parametrize("prefix", ["claude-*", "us.anthropic.claude-*"])
def test_a_prefix_declares_the_most_tokens_of_any_model(prefix):
    assert described(prefix).max_output_tokens == max(body(model=model.name)["max_tokens"] for model in NAMED)
    assert described("arn:*").max_output_tokens is described("glm-9").max_output_tokens is None


FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-4-5", "claude-opus-4-1-20250805", "claude-mythos-preview"])
def test_a_schema_for_the_answer(model):
    found = asked(request(model=model, response_format=FORM, tools=[TOOL]))
    assert found.body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert (found.form, [tool["name"] for tool in found.body["tools"]]) == ("", ["f"])


@pytest.mark.parametrize("model", ["claude-sonnet-4-20250514", "claude-3-haiku-20240307", "glm-9"])
def test_an_older_model_must_call_a_tool_instead(model):
    found = asked(request(model=model, response_format=FORM))
    assert (found.form, found.body["tool_choice"]) == ("n", {"type": "tool", "name": "n"})
    assert found.body["tools"][0]["input_schema"] == SCHEMA
    refused(model=model, response_format=FORM, tools=[TOOL], match="cannot call tools and keep to", error=CapabilityError)


def test_an_object_without_a_schema():
    found = asked(request(model=OLD, response_format={"type": "json_object"}))
    assert (found.form, found.body["tools"][0]["input_schema"]) == ("answer", {"type": "object", "properties": {}})
    for knobs in ({"tools": [TOOL]}, {"reasoning": "high"}, {"model": "claude-opus-5-5"}):
        found = asked(request(response_format={"type": "json_object"}, **knobs))
        assert (found.form, found.body["system"][-1]["text"][:28]) == ("", "Answer with one JSON object ")
        assert "tool_choice" not in found.body
    assert "output_config" not in body(response_format={"type": "text"})


@pytest.mark.parametrize("given", [None, {}, {"name": "n"}, {"schema": "x"}])
def test_a_form_without_a_schema_is_refused(given):
    refused(response_format={"type": "json_schema", "json_schema": given}, match="a JSON schema under 'schema'")


def test_effort_format_and_options_share_one_field():
    found = body(reasoning="low", response_format=FORM, options={"output_config": {"effort": "max"}})
    assert found["output_config"] == {"effort": "max", "format": {"type": "json_schema", "schema": SCHEMA}}


OPEN = {"type": "object", "properties": {"minimum": {"type": "integer"}}, "additionalProperties": True}


def test_rules_that_the_api_does_not_take_are_told_in_words():
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "A number"},
            "s": {"type": "string", "format": "email", "pattern": "a+"},
            "l": {"type": "array", "items": {"$ref": "#/$defs/o"}, "minItems": 1, "maxItems": 3},
            "u": {"oneOf": [{"type": "string", "format": "phone"}, {"type": "null"}]},
        },
        "$defs": {"o": OPEN},
    }
    before = copy.deepcopy(schema)
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert body(response_format=form)["output_config"]["format"]["schema"] == {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "description": "A number (minimum: 1)"},
            "s": {"type": "string", "format": "email", "pattern": "a+"},
            "l": {"type": "array", "items": {"$ref": "#/$defs/o"}, "minItems": 1, "description": "maxItems: 3"},
            "u": {"anyOf": [{"type": "string", "description": 'format: "phone"'}, {"type": "null"}]},
        },
        "$defs": {"o": OPEN},
        "additionalProperties": False,
    }
    assert schema == before


def test_the_sampling(with_fields):
    found = asked(with_fields(request(temperature=0.5, stop=["x"], seed=1), top_p=0.9))
    assert (found.body["temperature"], found.body["top_p"], found.body["stop_sequences"]) == (0.5, 0.9, ["x"])
    assert "seed" not in found.body
    assert "seed" in found.notes[0]


@pytest.mark.parametrize("betas", [["b3", "b1"], ("b3",), "b3"])
def test_betas_of_a_call_are_added_to_those_of_the_instance(betas):
    found = asked(request(options={"betas": betas, "top_k": 5}), beta="b1,b2")
    assert found.headers == {"anthropic-beta": "b1,b2,b3"}
    assert found.body["top_k"] == 5
    assert "betas" not in found.body
    assert asked(request(), beta="b1").headers == {}


def test_a_request_is_json_and_the_caller_s_values_stay():
    messages = [system("s"), {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": CACHE}]}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}]
    before = copy.deepcopy((messages, tools))
    json.dumps(body(messages, tools=tools))
    assert (messages, tools) == before
