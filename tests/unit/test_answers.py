"""A whole answer, gathered from its pieces, and the message that goes back with the next request."""

from __future__ import annotations

import json
import pickle

import pytest

from providerhub import (
    Citation,
    Completion,
    Detail,
    Finish,
    Media,
    ReasoningDelta,
    RefusalDelta,
    Route,
    ToolCall,
    ToolCallDelta,
    Turn,
    Usage,
    UsageDelta,
)
from providerhub._calling.assembly import Assembly
from providerhub._values.answer import message_digest


def gathered(*pieces):
    assembly = Assembly()
    for piece in pieces:
        assembly.add(piece)
    return assembly.completion("acme", "m", Route())


def test_nothing_of_an_answer_is_lost():
    turn, source = Turn([{"signature": "c2ln"}]), Citation("https://a.example", "A", "quoted", 0, 2)
    answer = gathered(
        "Hi", source, Detail("id", "a-1"), Detail("model", "m-2026"), Detail("request_id", "r-1"), Detail("tier", "flex"),
        Detail("stop_sequence", "END"), turn, Finish("stop", "end_turn"),
    )  # fmt: skip
    assert (answer.text, answer.citations, answer.turn) == ("Hi", (source,), turn)
    assert (answer.id, answer.served_model, answer.request_id, answer.stop_sequence) == ("a-1", "m-2026", "r-1", "END")
    assert (answer.finish_reason, answer.finish_said, answer.details["tier"]) == ("stop", "end_turn", "flex")
    assert pickle.loads(pickle.dumps(answer)) == answer


def test_the_halves_of_a_character_in_two_pieces_are_one():
    cut = ("x\ud83d", "\ude00y")
    calls = (ToolCallDelta(0, "a", "f", cut[0]), ToolCallDelta(0, arguments=cut[1]))
    answer = gathered(*cut, *map(ReasoningDelta, cut), *map(RefusalDelta, cut), *calls, Finish())
    assert (answer.text, answer.reasoning, answer.refusal, answer.tool_calls[0].arguments) == ("x😀y",) * 4
    assert gathered("\ud83d", "é", Finish()).text == "\ud83dé"


def test_lists_of_one_name_are_joined_and_other_details_replaced():
    answer = gathered(Detail("logprobs", [1]), Detail("tier", "a"), Detail("logprobs", [2]), Detail("tier", "b"), Finish())
    assert (answer.logprobs, answer.details["tier"]) == ([1, 2], "b")


def test_the_names_of_an_answer_are_texts():
    answer = gathered(Detail("id", 7), Detail("model", {"name": "m"}), Detail("request_id", None), Finish())
    assert (answer.id, answer.served_model, answer.request_id) == ("7", "{'name': 'm'}", None)


def test_an_answer_without_extras_has_none():
    answer = gathered("Hi", Finish())
    assert (answer.citations, answer.media, answer.turn, answer.details, answer.id) == ((), (), None, {}, None)


@pytest.mark.parametrize(("pieces", "data"), [(("UklG", "Rg=="), b"RIFF"), (("UklGRg==", "UklGRg=="), b"RIFFRIFF")])
def test_the_pieces_of_one_medium_are_joined(pieces, data):
    answer = gathered(*(Media("audio", "audio/wav", piece, id="a") for piece in pieces), Media("image", "image/png", "UE5H"))
    assert [medium.data for medium in answer.media] == [data, b"PNG"]


def test_a_medium_is_content():
    assert Assembly().add(Media("image", url="https://a.example/cat.png"))
    assert not Assembly().add(Detail("id", "1"))


def test_bytes_that_are_no_base64_are_named():
    with pytest.raises(ValueError, match="the image is not valid base64"):
        _ = Media("image", base64="abcde").data


def test_counts_are_merged_one_by_one():
    answer = gathered(
        UsageDelta(Usage(10, 1, 4, others={"input_tokens": 6})), UsageDelta(Usage(output_tokens=20, others={"output_tokens": 20}))
    )
    assert answer.usage == Usage(10, 20, 4, others={"input_tokens": 6, "output_tokens": 20})
    assert (Usage(1, 2).total_tokens, Usage(1, 2, stated_total=9).total_tokens, Usage(1).total_tokens) == (3, 9, None)


def test_every_call_has_an_id_of_its_own_and_arguments():
    answer = gathered(ToolCallDelta(0, "x", "f"), ToolCallDelta(1, "x", "g"), ToolCallDelta(2, None, "h", '{"a": 1}'))
    ids = [call.id for call in answer.tool_calls]
    assert ids[0] == "x"
    assert len(set(ids)) == 3
    assert all(ids)
    assert [call.arguments for call in answer.tool_calls] == ["{}", "{}", '{"a": 1}']


def test_a_made_up_id_stays():
    assembly = Assembly()
    assembly.add(ToolCallDelta(0, None, "f"))
    first, second = (assembly.completion("acme", "m", Route()).tool_calls for _ in range(2))
    assert first == second


def test_calls_end_an_answer_as_calls():
    assert gathered(ToolCallDelta(0, "x", "f"), Finish("stop")).finish_reason == "tool_calls"
    assert gathered(ToolCallDelta(0, "x", "f"), Finish("length")).finish_reason == "length"


def test_the_text_of_a_cut_answer_says_so():
    assert str(Completion(text="One two", finish_reason="length")) == "One two […cut: finish_reason is 'length']"
    assert str(Completion(text="One two", finish_reason="stop")) == "One two"


def test_the_message_goes_back():
    answer = gathered(
        ReasoningDelta("Hm."), "Look.", ToolCallDelta(0, "x", "f", '{"a": 1}'), ToolCallDelta(1, "y", "g", "free", "custom"),
        Turn(["t"], "providerhub-acme", "acme", "api.acme.example"),
    )  # fmt: skip
    plain = {
        "role": "assistant",
        "content": "Look.",
        "tool_calls": [
            {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
            {"id": "y", "type": "custom", "custom": {"name": "g", "input": "free"}},
        ],
    }
    assert answer.message_plain == plain
    assert json.loads(json.dumps(answer.message)) == {
        **plain,
        "turn": {
            "content": ["t"], "plugin": "providerhub-acme", "name": "acme", "host": "api.acme.example",
            "of": message_digest(plain),
        },
    }  # fmt: skip
    assert Completion().message == {"role": "assistant", "content": ""}
    assert Completion(refusal="No.").message == {"role": "assistant", "content": None, "refusal": "No."}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"content": [{"type": "text", "text": "Look."}]}, True),
        ({"name": "bob"}, True),
        ({"tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": '{ "a":1 }'}}]}, True),
        ({"tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a": 2}'}}]}, False),
        ({"tool_calls": [{"id": "z", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]}, False),
        ({"content": "Look!"}, False),
    ],
)
def test_the_digest_sees_what_an_edit_changes(change, same):
    message = gathered("Look.", ToolCallDelta(0, "x", "f", '{"a": 1}')).message_plain
    assert (message_digest({**message, **change}) == message_digest(message)) is same


def test_the_result_of_a_tool():
    answer = Completion(tool_calls=(ToolCall("x", "f", "{}"),))
    parts = [{"type": "text", "text": "7"}]
    assert answer.tool_result(answer.tool_calls[0], "7") == {"role": "tool", "tool_call_id": "x", "content": "7"}
    assert answer.tool_result("x", {"degrees": 7})["content"] == '{"degrees": 7}'
    assert answer.tool_result("x", ["See:", *parts])["content"] == [{"type": "text", "text": "See:"}, *parts]
    assert answer.tool_result("x", ["a", "b"])["content"] == '["a", "b"]'
    assert answer.tool_result("x", parts, is_error=True) == {
        "role": "tool", "tool_call_id": "x", "content": parts, "is_error": True,
    }  # fmt: skip
    with pytest.raises(ValueError, match="the answer has no tool call 'y'; its calls: 'x'"):
        answer.tool_result("y", "7")


@pytest.mark.parametrize("count", [-5, 2**63, 10**400])
def test_a_count_that_no_answer_can_have_is_left_out(count, caplog):
    assembly = Assembly()
    assembly.add(UsageDelta(Usage(input_tokens=count, output_tokens=7, cost=-1.0, others={"prompt_tokens": count})))
    assert assembly.usage == Usage(output_tokens=7, others={"prompt_tokens": count})
    assert "input_tokens, cost" in caplog.text
