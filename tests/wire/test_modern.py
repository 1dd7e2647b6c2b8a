"""One form for each part of a request, for wires that translate it."""

import base64

import pytest

from providerhub import InvalidRequestError
from providerhub.wire import Form, arguments_of, form_of, inline_data, left_out, modern, source_of

SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "developer", "content": "a"}, {"role": "system", "content": "a"}),
        ({"role": "user", "content": "a", "name": "Zoë"}, {"role": "user", "content": "a", "name": "Zoë"}),
        ({"role": "assistant", "refusal": "no"}, {"role": "assistant", "content": "no"}),
        ({"role": "assistant", "refusal": None}, {"role": "assistant"}),
        ({"role": "assistant", "content": "", "refusal": None}, {"role": "assistant", "content": ""}),
        ({"role": "tool", "tool_call_id": "c", "content": ""}, {"role": "tool", "tool_call_id": "c", "content": ""}),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "no"}]},
        ),
        (
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "function_f", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
        ),
        (
            {"role": "function", "name": "f", "content": "a"},
            {"role": "tool", "name": "f", "content": "a", "tool_call_id": "function_f"},
        ),
        ({"role": "function", "content": "a"}, {"role": "tool", "content": "a", "tool_call_id": None}),
    ],
)
def test_older_and_rarer_forms_of_a_message(message, expected):
    before = {**message}
    assert modern([message]) == [expected]
    assert message == before


def test_the_text_of_a_custom_tool_is_an_argument():
    call = {"id": "c", "type": "custom", "custom": {"name": "run", "input": "ls"}}
    (found,) = modern([{"role": "assistant", "content": None, "tool_calls": [call]}])
    assert arguments_of(found["tool_calls"][0]) == {"input": "ls"}
    assert (found["tool_calls"][0]["id"], found["tool_calls"][0]["function"]["name"]) == ("c", "run")


@pytest.mark.parametrize("given", [None, "", " ", "null", "[]", "{}", [], {}])
def test_no_arguments(given):
    assert arguments_of({"function": {"name": "f", "arguments": given}}) == {}


@pytest.mark.parametrize("given", ['{"city": "Os', "[1]", '"x"', 7, "text", "[" * 100_000])
def test_arguments_that_are_no_object_do_not_end_the_conversation(given):
    assert arguments_of({"function": {"arguments": given}}) == {"input": given}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "image_url", "image_url": "https://a.example"}, "https://a.example"),
        ({"type": "image_url", "image_url": {"url": "data:,"}}, "data:,"),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:x"}}, "data:x"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file-1"),
        ({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}, "UklGRg=="),
        ({"type": "file"}, ""),
        ({}, ""),
    ],
)
def test_the_source_of_a_part(part, expected):
    assert source_of(part) == expected


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("image/png", b"\xff\xd8\xff\xe0" + bytes(20), "image/jpeg"),
        ("", b"%PDF-1.7", "application/pdf"),
        ("Text/CSV;charset=utf-8", b"a,b", "text/csv"),
        ("", b"a", ""),
    ],
)
def test_the_media_type_of_data(kind, data, expected):
    text = base64.b64encode(data).decode()
    assert inline_data(f"data:{kind};base64,{text}", "here") == (expected, text)


def test_white_space_in_data():
    text = base64.b64encode(b"%PDF-1.7" + bytes(40)).decode()
    assert inline_data(f"data:;base64, \n{text}", "here") == ("application/pdf", f" \n{text}")


def test_other_addresses_and_broken_data():
    assert inline_data("https://a.example/a.png", "here") is None
    with pytest.raises(InvalidRequestError, match="here: the data: URL does not hold valid base64"):
        inline_data("data:image/png;base64,a", "here")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Form("text", {}, "answer", None)),
        ({"type": "json_object"}, Form("json_object", {}, "answer", None)),
        (
            {"type": "json_schema", "json_schema": {"schema": SCHEMA, "name": "n", "description": "d"}},
            Form("json_schema", SCHEMA, "n", "d"),
        ),
    ],
)
def test_the_form_of_an_answer(given, expected):
    assert form_of(given) == expected


def test_keys_without_a_place_are_noted_once_each():
    said = [{"role": role, "content": "a", "name": "bob"} for role in ("user", "assistant", "tool", "function")]
    assert left_out(said, "This API") == ["This API has no 'name' of a message; it was left out"]
    assert left_out([{"role": "assistant", "audio": {"id": "x"}, "name": None}], "It") == [
        "It has no 'audio' of a message; it was left out"
    ]
    assert left_out(said[2:], "It") == []


@pytest.mark.parametrize(
    "given", [{"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"name": "n"}}]
)
def test_a_wrong_response_format_is_refused(given):
    with pytest.raises(InvalidRequestError, match="response_format must be a text, a JSON object, or a JSON schema"):
        form_of(given)
