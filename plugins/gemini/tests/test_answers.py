"""The answers that the plugin reads: whole and streamed, sync and async, and the turn that goes back."""

import json

import pytest

import providerhub
from providerhub import BadRequestError, Citation, RateLimitError, ServerError, ToolCall, Usage
from providerhub.testing import FaultServer, Hold, chunked, http_response

from .conftest import EVERY_WAY, ask, hub_at, said, script_of, sse

THOUGHT = {"text": "I need it.", "thought": True}
SIGNED = {"functionCall": {"name": "look", "args": {"x": 1}, "id": "g1"}, "thoughtSignature": "c2lnbmVk"}
COUNTS = {
    "promptTokenCount": 11, "candidatesTokenCount": 5, "thoughtsTokenCount": 7, "cachedContentTokenCount": 4,
    "totalTokenCount": 30, "toolUsePromptTokenCount": 7, "serviceTier": "standard",
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}, {"modality": "IMAGE", "tokenCount": 3}],
    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
}  # fmt: skip


def answered(*objects, stream=False, aio=False, **knobs):
    return ask(script_of(objects, stream=stream), stream=stream, aio=aio, **knobs)[0]


@EVERY_WAY
def test_an_answer(stream, aio):
    chunks = [said(THOUGHT, {"text": "Hi, "}, {"text": "you."}, UsageMetadata=COUNTS, CreateTime="2026-01-01T00:00:00Z")]
    if stream:
        first = said(THOUGHT, {"text": "Hi, "}, reason=None, CreateTime="2026-01-01T00:00:00Z")
        chunks = [first, said({"text": "you."}, UsageMetadata=COUNTS)]
    answer = answered(*chunks, stream=stream, aio=aio)
    assert (answer.text, answer.reasoning, answer.finish_reason, answer.finish_said) == ("Hi, you.", "I need it.", "stop", "STOP")
    assert answer.usage == Usage(
        input_tokens=11, output_tokens=12, cached_tokens=4, reasoning_tokens=7, input_image_tokens=3, output_audio_tokens=5,
        stated_total=30, others=answer.usage.others,
    )  # fmt: skip
    assert answer.usage.others["toolUsePromptTokenCount"] == 7
    assert answer.usage.others["promptTokensDetails.TEXT"] == 8
    details = {"id": "r1", "model": "gemini-9", "created": "2026-01-01T00:00:00Z", "tier": "standard"}
    assert details.items() <= answer.details.items()
    assert answer.turn is None


@EVERY_WAY
def test_a_signed_turn_goes_back_as_it_came(stream, aio):
    parts = [THOUGHT, {"text": "Wait."}, SIGNED, {"functionCall": {"name": "find"}}]
    answer = answered(said(*parts), stream=stream, aio=aio)
    assert answer.tool_calls == (ToolCall("g1", "look", '{"x": 1}'), ToolCall("call_r1_1", "find", "{}"))
    assert (answer.finish_reason, answer.finish_said) == ("tool_calls", "STOP")
    assert answer.turn.content == [*parts[:3], {"functionCall": {"name": "find", "args": {}}}]
    results = [answer.tool_result(call, f"result {n}") for n, call in enumerate(answer.tool_calls)]
    messages = [{"role": "user", "content": "?"}, answer.message, *results]

    def both(server, hub):
        first = hub.complete("gemini/gemini-2.5-flash", "?")
        messages[1] = first.message
        hub.complete("gemini/gemini-2.5-flash", messages)
        return server.requests[1].json()["contents"]

    scripts = [http_response(200, said(*parts)), http_response(200, said({"text": "Done."}))]
    with FaultServer(*scripts) as server, hub_at(server.url) as hub:
        contents = both(server, hub)
    assert contents[1] == {"role": "model", "parts": answer.turn.content}
    assert contents[2]["parts"] == [
        {"functionResponse": {"name": "look", "response": {"output": "result 0"}, "id": "g1"}},
        {"functionResponse": {"name": "find", "response": {"output": "result 1"}}},
    ]


def test_a_signature_after_the_text():
    end = {"text": "", "thoughtSignature": "c2lnbmVk"}
    answer = answered(said({"text": "a"}, reason=None), said({"text": "b"}, reason=None), said(end), stream=True)
    assert answer.turn.content == [{"text": "ab"}, end]
    assert answer.text == "ab"


@EVERY_WAY
def test_the_parts_of_code_execution_and_of_own_tools_are_kept(stream, aio):
    code = {"executableCode": {"language": "PYTHON", "code": "1+1"}, "thoughtSignature": "c2ln"}
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}
    tool = {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "t"}}
    answer = answered(said(code, result, tool, {"text": "2"}), stream=stream, aio=aio)
    assert answer.turn.content == [code, result, tool, {"text": "2"}]
    assert answer.details["executableCode"] == [code["executableCode"]]
    assert answer.details["codeExecutionResult"] == [result["codeExecutionResult"]]
    assert answer.text == "2"


@EVERY_WAY
def test_media(stream, aio):
    draft = {"inlineData": {"mimeType": "image/png", "data": "AAAB"}, "thought": True}
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "c2ln"}
    file = {"fileData": {"mimeType": "video/mp4", "fileUri": "https://a.example/v"}}
    answer = answered(said(draft, picture, file), stream=stream, aio=aio)
    assert [(one.kind, one.type, one.data, one.url) for one in answer.media] == [
        ("image", "image/png", b"\0\0\0", None),
        ("video", "video/mp4", b"", "https://a.example/v"),
    ]
    assert answer.turn.content == [draft, picture, file]


def test_sound_comes_in_pieces():
    piece = {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "AAA="}}
    answer = answered(said(piece, reason=None), said(piece), stream=True)
    assert [(one.kind, one.type, one.data) for one in answer.media] == [("audio", "audio/L16;rate=24000", b"\0\0\0\0")]


@EVERY_WAY
def test_sources(stream, aio):
    text = "Größe: 4.0. End."
    grounding = {
        "webSearchQueries": ["size"],
        "groundingChunks": [
            {"web": {"uri": "https://a.example", "title": "A"}},
            {"retrievedContext": {"uri": "gs://b/c", "title": "B", "text": "It is 4."}},
            {"web": {"uri": "https://c.example", "title": "C"}},
        ],
        "groundingSupports": [
            {"segment": {"startIndex": 9, "endIndex": 13, "text": "4.0."}, "groundingChunkIndices": [0, 1]},
            {"segment": {"startIndex": 0, "endIndex": 4, "text": "End."}, "groundingChunkIndices": [0, 9]},
        ],
    }
    quoted = {"citations": [{}, {"uri": "https://d.example", "startIndex": 0, "endIndex": 7, "license": "mit"}]}
    answer = answered(said({"text": text}, groundingMetadata=grounding, citationMetadata=quoted), stream=stream, aio=aio)
    assert answer.citations == (
        Citation("https://a.example", "A", None, 7, 11),
        Citation("gs://b/c", "B", "It is 4.", 7, 11),
        Citation("https://a.example", "A", None, 12, 16),
        Citation("https://c.example", "C"),
        Citation("https://d.example", None, None, 0, 5, {"license": "mit"}),
    )
    assert answer.details["grounding"] == grounding


def test_grounding_in_pieces():
    first = said({"text": "a"}, reason=None, groundingMetadata={"webSearchQueries": ["q"]})
    chunks = [{"web": {"uri": "https://a.example"}}]
    last = said({"text": "b"}, groundingMetadata={"groundingChunks": chunks, "webSearchQueries": []})
    answer = answered(first, last, stream=True)
    assert answer.details["grounding"] == {"webSearchQueries": ["q"], "groundingChunks": chunks}


@EVERY_WAY
@pytest.mark.parametrize(
    ("reason", "found"),
    [("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("IMAGE_SAFETY", "content_filter"), ("ODD", "ODD"), (1, "stop")],
)
def test_finish_words(reason, found, stream, aio):
    answer = answered(said({"text": "a"}, reason=reason), stream=stream, aio=aio)
    assert answer.finish_reason == found
    assert answer.finish_said == (None if found == reason else str(reason))


@EVERY_WAY
def test_a_blocked_answer(stream, aio):
    ratings = [{"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "HIGH", "blocked": True}]
    answer = answered(said(reason="SAFETY", safetyRatings=ratings, finishMessage="No."), stream=stream, aio=aio)
    assert (answer.text, answer.finish_reason, answer.finish_said) == ("", "content_filter", "SAFETY")
    assert answer.details["safety"] == {"safetyRatings": ratings}
    assert answer.details["refusal"] == "No."


@EVERY_WAY
def test_a_blocked_prompt(stream, aio):
    feedback = {"blockReason": "MODEL_ARMOR", "blockReasonMessage": "A filter."}
    answer = answered({"promptFeedback": feedback, "responseId": "r"}, stream=stream, aio=aio)
    assert (answer.finish_reason, answer.finish_said) == ("content_filter", "MODEL_ARMOR")
    assert answer.details["safety"] == {"promptFeedback": feedback}
    assert answer.details["refusal"] == "A filter."


@EVERY_WAY
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "Malformed: look("}]}, ServerError),
        (said({"text": "So: "}, reason="MALFORMED_FUNCTION_CALL"), ServerError),
        (said(reason="OTHER"), ServerError),
        (said(THOUGHT, reason="UNEXPECTED_TOOL_CALL"), ServerError),
        (said(reason="MISSING_THOUGHT_SIGNATURE"), BadRequestError),
    ],
)
def test_an_answer_that_is_not_valid_is_an_error(answer, kind, stream, aio):
    with pytest.raises(providerhub.ProviderHubError) as caught:
        answered(answer, stream=stream, aio=aio)
    error = getattr(caught.value, "cause", None) or caught.value
    assert isinstance(error, kind)
    assert error.retryable is (kind is ServerError)
    assert answer["candidates"][0]["finishReason"] in str(error)


def test_a_call_of_an_unknown_function_is_a_call():
    answer = answered(said(SIGNED, reason="UNEXPECTED_TOOL_CALL"))
    assert (answer.finish_reason, answer.finish_said) == ("tool_calls", "UNEXPECTED_TOOL_CALL")


def test_a_malformed_call_is_asked_again():
    scripts = [
        http_response(200, {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}),
        http_response(200, said({"text": "Hi"})),
    ]
    with FaultServer(*scripts) as server, hub_at(server.url) as hub:
        retry = providerhub.RetryPolicy(attempts=2, attempts_per_provider=2)
        assert hub.complete("gemini/gemini-2.5-flash", "?", retry=retry).text == "Hi"


@EVERY_WAY
def test_further_candidates(stream, aio):
    one = said({"text": "a"})
    one["candidates"].append({"index": 1, "content": {"parts": [{"text": "b"}, SIGNED]}, "finishReason": "STOP"})
    answer = answered(one, stream=stream, aio=aio)
    assert answer.text == "a"
    (choice,) = answer.details["choices"]
    assert (choice["index"], choice["finish_reason"], choice["message"]["content"]) == (1, "stop", "b")
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"x": 1}'}


def test_logprobs():
    chosen = [{"token": "a", "logProbability": -0.1}, {"token": "b", "logProbability": -0.2}]
    top = [{"candidates": chosen}]
    answer = answered(said({"text": "ab"}, avgLogprobs=-0.15, logprobsResult={"chosenCandidates": chosen, "topCandidates": top}))
    assert answer.logprobs == [{**chosen[0], "topCandidates": chosen}, {**chosen[1], "topCandidates": None}]
    assert answer.details["avgLogprobs"] == -0.15


@pytest.mark.parametrize(("number", "reason"), [(1, "stop"), (2, "length"), (3, "content_filter"), (4, "content_filter")])
def test_a_finish_reason_that_is_a_number(number, reason):
    answer = answered(said({"text": "Hi"}, reason=number))
    assert (answer.text, answer.finish_reason, answer.finish_said) == ("Hi", reason, str(number))


def partial(path, more=True, **value):
    return {"functionCall": {"partialArgs": [{"jsonPath": path, **value}], **({"willContinue": True} if more else {})}}


@pytest.mark.parametrize("aio", [False, True])
def test_arguments_in_parts(aio):
    parts = [
        {"functionCall": {"name": "look", "willContinue": True}, "thoughtSignature": "c2ln"},
        partial("$.city", stringValue="New "),
        partial("$.city", stringValue="York"),
        partial("$.days[0].n", numberValue=2),
        partial("$.days[0]['a b']", boolValue=True),
        partial("$.days[1]", nullValue="NULL_VALUE"),
        {"functionCall": {}},
        {"functionCall": {"name": "find", "willContinue": True}},
        {"functionCall": {"name": "last"}},
        {"functionCall": {}},
    ]
    answer = answered(*(said(part, reason=None) for part in parts), said({"text": ""}), stream=True, aio=aio)
    arguments = {"city": "New York", "days": [{"n": 2, "a b": True}, None]}
    assert [(call.name, json.loads(call.arguments)) for call in answer.tool_calls] == [
        ("look", arguments),
        ("find", {}),
        ("last", {}),
    ]
    assert answer.turn.content[0] == {"functionCall": {"name": "look", "args": arguments}, "thoughtSignature": "c2ln"}


@pytest.mark.parametrize("piece", [{"jsonPath": "$", "stringValue": "a"}, {"jsonPath": "$.a[3]", "numberValue": 1}, {}, "x"])
def test_a_partial_argument_without_sense(piece):
    part = {"functionCall": {"name": "look", "partialArgs": [piece]}}
    with pytest.raises(providerhub.ProviderHubError, match="partial argument"):
        answered(said(part), stream=True)


ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize("aio", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("padding", [0, 3000])
@pytest.mark.parametrize("behind", [b"", b"\n", b"\ndata: {}\n\n"])
def test_a_bare_error_in_mid_stream(aio, indent, listed, padding, behind):
    error = {"error": {**ERROR["error"], "details": ["x" * padding]}}
    bare = json.dumps([error] if listed else error, indent=indent).encode() + behind
    script = chunked([*sse(said({"text": "Hi"}, reason=None)), bare])
    with pytest.raises(providerhub.StreamInterruptedError, match="overloaded") as caught:
        ask(script, stream=True, aio=aio)
    assert isinstance(caught.value.cause, ServerError)
    assert caught.value.cause.status == 503
    assert caught.value.completion.text == "Hi"


def test_a_bare_error_counts_at_once():
    bare = json.dumps(ERROR, indent=2).encode()
    with pytest.raises(providerhub.StreamInterruptedError, match="overloaded"):
        ask(chunked([*sse(said({"text": "Hi"}, reason=None)), bare, Hold()]), stream=True)


@pytest.mark.parametrize("aio", [False, True])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_array_in_place_of_events(aio, size):
    chunks = [said({"text": "Hi, "}, reason=None), said({"text": "you."}, UsageMetadata=COUNTS)]
    data = b" " + json.dumps(chunks, indent=1).encode()
    answer, _ = ask(chunked([data[at : at + size] for at in range(0, len(data), size)]), stream=True, aio=aio)
    assert (answer.text, answer.finish_reason, answer.usage.output_tokens) == ("Hi, you.", "stop", 12)


@EVERY_WAY
def test_an_error_in_an_array(stream, aio):
    with pytest.raises(providerhub.ProviderHubError, match="overloaded"):
        ask(http_response(200, [ERROR]), stream=stream, aio=aio)


@pytest.mark.parametrize("end", [b"data: [", b"", b'data: {"cand'])
def test_a_stream_without_a_finish_reason_was_cut(end):
    with pytest.raises(providerhub.StreamInterruptedError):
        ask(
            chunked([*sse(said({"text": "Hi"}, reason=None)), end] if end else sse(said({"text": "Hi"}, reason=None))),
            stream=True,
        )


def test_the_delay_in_the_body():
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.05s"}]
    error = {"code": 429, "message": "Quota exceeded: requests per minute", "status": "RESOURCE_EXHAUSTED", "details": details}
    with pytest.raises(providerhub.ProviderHubError) as caught:
        ask(http_response(429, {"error": error}))
    error = caught.value.route.attempts[0].error
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 0.05


def test_cut_anywhere_is_whole():
    chunks = sse(
        said(THOUGHT, reason=None), said({"text": "Größe "}, reason=None), said({"text": "4"}, SIGNED, UsageMetadata=COUNTS)
    )
    data = b"".join(chunks)
    whole, _ = ask(chunked([data]), stream=True)
    for size in (1, 2, 5, 61):
        cut, _ = ask(chunked([data[at : at + size] for at in range(0, len(data), size)]), stream=True)
        assert attrs_of(cut) == attrs_of(whole)


def attrs_of(answer):
    return answer.text, answer.reasoning, answer.tool_calls, answer.usage, answer.turn.content, dict(answer.details)


@EVERY_WAY
@pytest.mark.parametrize(
    "answer",
    [
        said("text"),
        said({"inlineData": {"mimeType": "image/png"}}, groundingMetadata={"groundingChunks": [7]}),
        {"candidates": ["text"]},
        {"usageMetadata": 7, "candidates": []},
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": "look", "args": 7}}]}, "finishReason": "STOP"}]},
    ],
)
def test_a_wrong_shape_is_named(answer, stream, aio):
    with pytest.raises(providerhub.ProviderHubError, match="unexpected shape"):
        answered(answer, stream=stream, aio=aio)
