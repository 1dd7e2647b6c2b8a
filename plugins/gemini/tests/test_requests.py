"""The requests that the plugin sends, over real sockets."""

import pytest

import providerhub
from providerhub import CapabilityError
from providerhub.testing import http_response

from .conftest import EVERY_WAY, ask, hub_at, said, script_of

UNSIGNED = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
CALLS = [
    {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}},
    {"id": "b", "type": "function", "function": {"name": "find", "arguments": ""}},
]
LOOP = [
    {"role": "user", "content": "?"},
    {"role": "assistant", "content": "Let me see.", "tool_calls": CALLS},
    {"role": "tool", "tool_call_id": "a", "content": "one"},
    {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "two"}], "is_error": True},
]
TOOL = {"type": "function", "function": {"name": "look", "description": "d", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}


def sent(messages="?", **knobs):
    _, server = ask(http_response(200, said({"text": "Hi"})), messages, **knobs)
    return server.requests[0].json()


@EVERY_WAY
def test_the_address_and_the_key(stream, aio):
    _, server = ask(script_of([said({"text": "Hi"})], stream=stream), stream=stream, aio=aio)
    request = server.requests[0]
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    assert request.target == f"/v1beta/models/gemini-2.5-flash:{method}"
    assert request.header("x-goog-api-key") == "a-key-for-this-test"
    assert request.header("authorization") == ""
    assert request.json() == {"contents": [{"role": "user", "parts": [{"text": "?"}]}]}


@pytest.mark.parametrize(
    ("end", "options", "begin"),
    [
        ("", {"api_version": "v1"}, "/v1/models/"),
        ("/v1", {}, "/v1/models/"),
        ("/google/v1beta/", {}, "/google/v1beta/models/"),
        ("/google", {}, "/google/v1beta/models/"),
    ],
)
def test_the_version_is_in_the_address_once(end, options, begin):
    _, server = ask(http_response(200, said({"text": "Hi"})), hub=lambda url, name: hub_at(url + end, name, options=options))
    assert server.requests[0].target.startswith(begin)


def test_a_tuned_model_keeps_its_path():
    _, server = ask(
        http_response(200, said({"text": "Hi"})),
        model="tunedModels/mine",
        hub=lambda url, name: hub_at(url, name, models=["tunedModels/*"]),
    )
    assert server.requests[0].target == "/v1beta/tunedModels/mine:generateContent"


def test_system_prompts_and_roles():
    body = sent(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "one"},
            {"role": "user", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": ""}]},
            {"role": "assistant", "content": "three"},
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "four"},
        ]
    )
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "one"}, {"text": "two"}]},
        {"role": "model", "parts": [{"text": "three"}]},
        {"role": "user", "parts": [{"text": "four"}]},
    ]


@pytest.mark.parametrize(
    ("model", "signed"), [("gemini-2.5-flash", {}), ("gemini-3-flash-preview", {"thoughtSignature": UNSIGNED})]
)
def test_calls_of_another_vendor_and_their_results(model, signed):
    body = sent(LOOP, model=model)
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Let me see."},
                {"functionCall": {"name": "look", "args": {"x": 1}}, **signed},
                {"functionCall": {"name": "find", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "look", "response": {"output": "one"}}},
                {"functionResponse": {"name": "find", "response": {"error": "two"}}},
            ],
        },
    ]


def test_the_shape_of_2023():
    body = sent(
        [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
            {"role": "function", "name": "look", "content": "one"},
        ]
    )
    assert body["contents"][1]["parts"] == [{"functionCall": {"name": "look", "args": {}}}]
    assert body["contents"][2]["parts"] == [{"functionResponse": {"name": "look", "response": {"output": "one"}}}]


def test_a_picture_in_a_result():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    blob = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    messages = [LOOP[0], {**LOOP[1], "tool_calls": CALLS[:1]}, {"role": "tool", "tool_call_id": "a", "content": [picture]}]
    older = sent(messages)["contents"][2]["parts"]
    assert older == [{"functionResponse": {"name": "look", "response": {"output": ""}}}, blob]
    newer = sent(messages, model="gemini-3-flash-preview")["contents"][2]["parts"]
    assert newer == [{"functionResponse": {"name": "look", "response": {"output": ""}, "parts": [blob]}}]


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        ),
        (
            {"type": "image_url", "image_url": "https://a.example/cat.jpg?x=1"},
            {"fileData": {"fileUri": "https://a.example/cat.jpg?x=1", "mimeType": "image/jpeg"}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
        ),
        ({"type": "file", "file": {"file_id": "files/abc"}}, {"fileData": {"fileUri": "files/abc"}}),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}},
        ),
        (
            {"type": "video_url", "video_url": {"url": "https://a.example/a.mp4"}, "videoMetadata": {"fps": 1}},
            {"fileData": {"fileUri": "https://a.example/a.mp4", "mimeType": "video/mp4"}, "videoMetadata": {"fps": 1}},
        ),
        ({"type": "own", "fileData": {"fileUri": "gs://b/a"}}, {"fileData": {"fileUri": "gs://b/a"}}),
    ],
)
def test_files(part, written):
    assert sent([{"role": "user", "content": [{"type": "text", "text": "?"}, part]}])["contents"][0]["parts"][1] == written


def test_a_file_of_another_service_is_a_lack_of_this_one():
    part = {"type": "file", "file": {"file_id": "file-1"}}
    with pytest.raises(CapabilityError, match=r"\['content'\]\[0\]: the Gemini API knows its own files only") as caught:
        sent([{"role": "user", "content": [part]}])
    assert not caught.value.capability  # the API accepts other files, so no lack is remembered


def test_a_choice_in_a_form_that_the_api_has_not_is_refused():
    with pytest.raises(CapabilityError, match=r"no tool_choice .*allowed_tools"):
        sent(tools=[TOOL], tool_choice={"type": "allowed_tools"})


def test_keywords():
    body = sent(
        temperature=0.5,
        top_p=0.9,
        max_tokens=7,
        seed=3,
        stop=["END"],
        tools=[TOOL, {"type": "google_search"}, {"codeExecution": {}}],
        tool_choice="required",
        options={"gemini": {"safetySettings": [], "generationConfig": {"topK": 4, "seed": None}}},
    )
    assert body["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.9,
        "maxOutputTokens": 7,
        "stopSequences": ["END"],
        "topK": 4,
    }
    declared = {"name": "look", "description": "d", "parametersJsonSchema": {"type": "object"}}
    assert body["tools"] == [{"functionDeclarations": [declared]}, {"googleSearch": {}}, {"codeExecution": {}}]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    assert body["safetySettings"] == []


@pytest.mark.parametrize(
    ("choice", "strict", "written"),
    [
        ("auto", False, {"mode": "AUTO"}),
        ("none", False, {"mode": "NONE"}),
        (None, True, {"mode": "VALIDATED"}),
        ({"type": "function", "function": {"name": "look"}}, False, {"mode": "ANY", "allowedFunctionNames": ["look"]}),
    ],
)
def test_tool_choice(choice, strict, written):
    tool = {"type": "function", "function": {**TOOL["function"], "strict": strict}}
    assert sent(tools=[tool], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": written}


@pytest.mark.parametrize(
    ("model", "asked", "written"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "high", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-2.5-pro", 300, {"thinkingBudget": 300, "includeThoughts": True}),
        ("gemini-3-flash-preview", "minimal", {"thinkingLevel": "minimal", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-flash-latest", "medium", {"thinkingLevel": "medium", "includeThoughts": True}),
    ],
)
def test_reasoning(model, asked, written):
    assert sent(model=model, reasoning=asked)["generationConfig"] == {"thinkingConfig": written}


def test_half_of_the_tokens_belong_to_the_answer():
    assert sent(reasoning="high", max_tokens=4000)["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 2000


@pytest.mark.parametrize("model", ["gemini-2.5-pro", "gemini-3-flash-preview"])
def test_thinking_that_cannot_be_switched_off(model):
    with pytest.raises(providerhub.ProviderHubError, match="always thinks"):
        sent(model=model, reasoning="none")


def test_structured_output():
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    expected = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    assert sent(response_format=form)["generationConfig"] == expected
    assert sent(response_format={"type": "json_object"})["generationConfig"] == {"responseMimeType": "application/json"}


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"messages": [{"role": "system", "content": "Be brief."}]}, "add a message of the user"),
        ({"messages": [{"role": "user", "content": "?"}, {"role": "tool", "tool_call_id": "z", "content": "1"}]}, "'z'"),
        ({"messages": [{"role": "user", "content": [{"type": "odd", "x": 1}]}]}, "'odd'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "cat.png"}}]}]}, "cat.png"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "free text"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "sometimes"),
        ({"tools": [TOOL], "parallel_tool_calls": False}, "leave parallel_tool_calls out"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "JSON schema"),
    ],
)
def test_what_the_wire_cannot_say_is_refused_before_sending(knobs, words):
    with pytest.raises(providerhub.ProviderHubError, match=words):
        sent(**knobs)


def test_notes():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}}
    messages = [{"role": "user", "content": [picture]}, {"role": "system", "content": "Be brief."}]
    answer, _ = ask(http_response(200, said({"text": "Hi"})), messages)
    notes = " ".join(answer.route.attempts[0].notes)
    assert all(word in notes for word in ("detail", "system"))
