"""Messages of a wrong shape are refused, and the error names the index and the wrong key."""

import pytest

from providerhub import Completion, InvalidRequestError, ToolCall
from providerhub._calling.messages import checked

GOOD = {"role": "user", "content": "Hello"}


def _calls(calls):
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _part(part):
    return {"role": "user", "content": [part]}


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        (None, ["messages"]),
        (7, ["messages"]),
        (GOOD, ["messages", "list"]),
        ([], ["messages", "at least one"]),
        (b"Hello", ["messages"]),
        ([GOOD, {"type": "function_call_output", "output": "x"}], ["messages[1]['role']"]),
        ([7], ["messages[0]", "role", "content"]),
        ([GOOD, None], ["messages[1]"]),
        ([GOOD, {"content": "x"}], ["messages[1]['role']"]),
        ([{"role": "robot", "content": "x"}], ["messages[0]['role']", "user"]),
        ([{"role": ["user"], "content": "x"}], ["messages[0]['role']"]),
        ([GOOD, GOOD, {"role": "user"}], ["messages[2]['content']"]),
        ([{"role": "user", "content": 3}], ["messages[0]['content']", "int"]),
        ([{"role": "user", "content": b"x"}], ["messages[0]['content']", "bytes"]),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}, "y"]}], ["messages[0]['content'][1]", "type"]),
        ([{"role": "user", "content": [{"text": "x"}]}], ["messages[0]['content'][0]", "type"]),
        ([{"role": "assistant", "content": None}], ["messages[0]['content']"]),
        ([{"role": "user", "contents": "x"}], ["did you mean the key 'content' in place of 'contents'?"]),
        ([{"role": "user", "text": "x"}], ["messages[0]['content']", "its keys are role, text"]),
        ([{"rol": "user", "content": "x"}], ["did you mean the key 'role' in place of 'rol'?"]),
        ([{"role": "assistant", "tool_call": []}], ["did you mean the key 'tool_calls' in place of 'tool_call'?"]),
        ([_calls(5)], ["messages[0]['tool_calls']", "list of mappings"]),
        ([_calls([5])], ["messages[0]['tool_calls']", "list of mappings"]),
        ([_calls([{"id": 5}])], ["messages[0]['tool_calls'][0]['id']", "text"]),
        ([_calls([{"function": 5}])], ["messages[0]['tool_calls'][0]['function']", "mapping"]),
        ([_calls([{"function": {"name": 5}}])], ["messages[0]['tool_calls'][0]['function']['name']", "text"]),
        ([_calls([{"function": {"name": "f", "arguments": b"{}"}}])], ["['function']['arguments']", "mapping"]),
        ([_calls([{"type": ["function"]}])], ["messages[0]['tool_calls'][0]['type']"]),
        ([{"role": "assistant", "function_call": "f"}], ["messages[0]['function_call']", "mapping"]),
        ([{"role": "tool", "content": "4", "tool_call_id": 1}], ["messages[0]['tool_call_id']"]),
        ([{"role": "user", "content": "x", "name": ["n"]}], ["messages[0]['name']"]),
        ([_part({"type": "text", "text": 5})], ["messages[0]['content'][0]['text']"]),
        ([_part({"type": "image_url", "image_url": 5})], ["messages[0]['content'][0]['image_url']", "mapping"]),
        ([_part({"type": "image_url", "image_url": {"url": b"x"}})], ["['image_url']['url']", "text"]),
        ([_part({"type": "image_url", "image_url": {"url": "data:", "detail": []}})], ["['image_url']['detail']"]),
        ([_part({"type": "file", "file": [1]})], ["messages[0]['content'][0]['file']", "mapping"]),
        ([_part({"type": "input_audio", "input_audio": {"data": None}})], ["['input_audio']['data']", "text"]),
        ([{"role": "user", "content": [{"typ": "text"}]}], ["did you mean the key 'type' in place of 'typ'?"]),
        (
            [{"role": "assistant", "tool_calls": [{"id": "a", "fuction": {"name": "f"}}]}],
            ["['tool_calls'][0] must hold the called tool", "did you mean the key 'function' in place of 'fuction'?"],
        ),
        ([{"role": "assistant", "content": [{"type": "refusal", "refusal": []}]}], ["['refusal'] must be a text"]),
    ],
)
def test_the_place_and_the_key_are_named(messages, named):
    with pytest.raises(InvalidRequestError) as caught:
        checked(messages)
    assert all(part in str(caught.value) for part in named)


@pytest.mark.parametrize(
    "messages",
    [
        [GOOD],
        (GOOD, GOOD),
        [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:"}}]}],
        [{"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]}],
        [{"role": "tool", "content": "4", "tool_call_id": "1"}],
        [{"role": "developer", "content": ""}],
        [{"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}],
        [{"role": "function", "name": "f", "content": "7"}],
        [{"role": "assistant", "audio": {"id": "a-1"}}],
    ],
)
def test_the_shapes_in_use_pass_untouched(messages):
    assert checked(messages) is messages


def test_a_text_is_one_user_message():
    assert list(checked("Hello")) == [GOOD]


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
TEXT = {"type": "text", "text": "What is this?"}


def test_texts_and_parts_that_follow_each_other_are_one_user_message():
    answer = Completion("A cat.", tool_calls=(ToolCall("c-1", "f", "{}"),))
    result = answer.tool_result("c-1", "7")
    found = checked([{"role": "system", "content": "s"}, "What is this?", PICTURE, answer, result, "Go on", "please", "now"])
    assert found == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [TEXT, PICTURE]},
        answer.message,
        result,
        {"role": "user", "content": [{"type": "text", "text": text} for text in ("Go on", "please", "now")]},
    ]


def test_one_text_in_a_list_is_one_user_message():
    assert checked(["Hello"]) == [GOOD]
    assert checked([PICTURE]) == [{"role": "user", "content": [PICTURE]}]


def test_a_long_value_is_not_repeated_whole():
    with pytest.raises(InvalidRequestError) as caught:
        checked([{"role": "user", "content": {"x": "y" * 10_000}}])
    assert len(str(caught.value)) < 300
