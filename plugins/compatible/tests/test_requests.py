"""The requests of vendors that differ from OpenAI's, and the lists of their models."""

import pytest

from providerhub import CapabilityError, ConfigurationError, ModelInfo, ProviderConfig
from providerhub.testing import FaultServer, http_response, openai_completion, openai_stream
from providerhub_compatible import VENDORS
from providerhub_compatible.models import model_of
from providerhub_compatible.provider import create, discover

WHOLE = http_response(200, openai_completion("Hi"))
STREAM = openai_stream("Hi")
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}


@pytest.fixture
def sent(hub_at, ask):
    """Ask a vendor, and return the body that it got."""

    def send(vendor, *, model="m", messages="Hello", **knobs):
        answer = STREAM if knobs.get("stream") else WHOLE
        with FaultServer(answer) as server, hub_at(vendor, server.url + "/v1") as hub:
            ask(hub, f"{vendor}/{model}", messages, **knobs)
        return server.requests[0].json()

    return send


@pytest.mark.parametrize(
    ("vendor", "reasoning", "fields"),
    [
        ("groq", "low", {"reasoning_effort": "low"}),
        ("moonshot", "none", {"thinking": {"type": "disabled"}}),
        ("moonshot", "high", {"thinking": {"type": "enabled"}}),
        ("deepseek", "high", {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
        ("zai", "none", {"thinking": {"type": "disabled"}}),
        ("alibaba", "low", {"enable_thinking": True, "thinking_budget": 2048}),
        ("alibaba", 500, {"enable_thinking": True, "thinking_budget": 500}),
        ("alibaba", "none", {"enable_thinking": False}),
        ("openrouter", "medium", {"reasoning": {"effort": "medium"}}),
        ("openrouter", 2000, {"reasoning": {"max_tokens": 2000}}),
        ("vercel", "none", {"reasoning": {"effort": "none"}}),
        ("together", "none", {"reasoning": {"enabled": False}}),
        ("together", "high", {"reasoning": {"enabled": True}, "reasoning_effort": "high"}),
        ("vllm", "none", {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        ("vllm", "high", {"reasoning_effort": "high", "chat_template_kwargs": {"enable_thinking": True, "thinking": True}}),
    ],
)
def test_reasoning_is_asked_for_in_the_vendors_form(sent, vendor, reasoning, fields):
    body = sent(vendor, reasoning=reasoning)
    names = {"reasoning", "reasoning_effort", "thinking", "enable_thinking", "thinking_budget", "chat_template_kwargs"}
    assert {name: value for name, value in body.items() if name in names} == fields


@pytest.mark.parametrize(
    ("vendor", "model", "reasoning", "fields"),
    [
        ("databricks", "databricks-claude-4", "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("databricks", "databricks-claude-4", 3000, {"thinking": {"type": "enabled", "budget_tokens": 3000}}),
        ("databricks", "databricks-claude-4", "none", {"thinking": {"type": "disabled"}}),
        ("databricks", "databricks-gpt-oss", "low", {"reasoning_effort": "low"}),
        ("snowflake", "claude-4", "low", {"reasoning": {"effort": "low"}}),
        ("snowflake", "claude-4", "none", {}),
        ("snowflake", "openai-gpt-5", "low", {"reasoning_effort": "low"}),
    ],
)
def test_reasoning_follows_the_family_of_the_model(sent, vendor, model, reasoning, fields):
    body = sent(vendor, model=model, reasoning=reasoning)
    assert {name: value for name, value in body.items() if name in {"reasoning", "reasoning_effort", "thinking"}} == fields


@pytest.mark.parametrize(("vendor", "name"), [("cerebras", "max_completion_tokens"), ("together", "max_tokens")])
def test_the_limit_has_the_name_that_the_vendor_knows(sent, vendor, name):
    body = sent(vendor, max_tokens=7)
    assert {field: value for field, value in body.items() if field.startswith("max_")} == {name: 7}


def test_an_option_keeps_its_name_and_none_removes_a_field(sent):
    body = sent("groq", stream=True, options={"groq": {"max_tokens": 3, "stream_options": None}})
    assert (body["max_tokens"], "stream_options" in body) == (3, False)


@pytest.mark.parametrize(("vendor", "kept"), [("groq", False), ("openrouter", True)])
def test_cache_control_goes_to_vendors_that_know_it(sent, vendor, kept):
    parts = [{"type": "text", "text": "Long", "cache_control": {"type": "ephemeral"}}]
    body = sent(vendor, messages=[{"role": "user", "content": parts}])
    assert ("cache_control" in body["messages"][0]["content"][0]) is kept


def test_fields_of_every_request_can_be_replaced(sent):
    assert sent("openrouter")["usage"] == {"include": True}
    assert "usage" not in sent("openrouter", options={"openrouter": {"usage": None}})
    assert sent("minimax")["reasoning_split"] is True


def test_counts_of_a_stream_are_asked_for_unless_the_setting_says_no(sent, hub_at, ask):
    assert sent("groq", stream=True)["stream_options"] == {"include_usage": True}
    with FaultServer(STREAM) as server, hub_at("vllm", server.url, options={"stream_usage": "no"}) as hub:
        ask(hub, "vllm/m", stream=True)
    assert "stream_options" not in server.requests[0].json()


def test_a_wrong_switch_is_refused():
    with pytest.raises(ConfigurationError, match="stream_usage must be 'yes' or 'no', not 'maybe'"):
        create(ProviderConfig(name="groq", url="http://127.0.0.1:1/v1", options={"stream_usage": "maybe"}))


def test_a_schema_that_a_vendor_does_not_promise_is_refused(hub_at, ask):
    with FaultServer(WHOLE) as server, hub_at("deepseek", server.url) as hub:
        with pytest.raises(CapabilityError, match="DeepSeek has no JSON schema"):
            ask(hub, "deepseek/m", response_format=SCHEMA)
        ask(hub, "deepseek/m", response_format={"type": "json_object"})
    assert [request.json()["response_format"] for request in server.requests] == [{"type": "json_object"}]


def test_long_identifiers_of_calls_are_shortened_alike_for_openais_models(sent):
    call = {"id": "c" * 60, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    talk = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c" * 60, "content": "7"},
    ]
    _, asked, result = sent("github", messages=talk)["messages"]
    assert len(result["tool_call_id"]) == 40
    assert asked["tool_calls"][0]["id"] == result["tool_call_id"]


TOOLS_AND_TEXT = {"supports_tools": True, "supports_json_schema": False, "supports_images": False}


@pytest.mark.parametrize(
    ("vendor", "entry", "expected"),
    [
        (
            "groq",
            {
                "active": True,
                "context_window": 131072,
                "supported_features": ["tools", "json_mode"],
                "input_modalities": ["text"],
            },
            {**TOOLS_AND_TEXT, "context_window": 131072},
        ),
        (
            "baseten",
            {
                "context_length": 4096,
                "supported_features": ["tools", "structured_outputs", "reasoning"],
                "input_modalities": ["text", "image"],
                "pricing": {"prompt": "0.000001", "completion": "0.000002"},
            },
            {
                "supports_tools": True,
                "supports_json_schema": True,
                "supports_reasoning": True,
                "supports_images": True,
                "context_window": 4096,
                "price_in": 1.0,
                "price_out": 2.0,
            },
        ),
        (
            "openrouter",
            {
                "architecture": {"input_modalities": ["text", "file", "audio"], "output_modalities": ["text"]},
                "supported_parameters": ["tools", "structured_outputs"],
                "pricing": {
                    "prompt": "0.0000003",
                    "completion": "0",
                    "input_cache_read": "0.00000003",
                    "input_cache_write": "0.000000375",
                },
                "top_provider": {"context_length": 9, "max_completion_tokens": 16384},
            },
            {
                "price_cache_read": 0.03,
                "price_cache_write": 0.375,
                "max_output_tokens": 16384,
                "supports_tools": True,
                "supports_json_schema": True,
                "supports_reasoning": False,
                "supports_images": False,
                "supports_files": True,
                "supports_audio": True,
                "price_in": 0.3,
                "price_out": 0.0,
            },
        ),
        (
            "huggingface",
            {
                "architecture": {"input_modalities": ["text"]},
                "providers": [
                    {"context_length": 1000, "supports_tools": False, "supports_structured_output": False},
                    {"context_length": 2000, "supports_tools": True, "supports_structured_output": False},
                ],
            },
            {**TOOLS_AND_TEXT, "context_window": 2000},
        ),
        (
            "together",
            {"type": "chat", "context_length": 8, "pricing": {"input": 0.2, "output": 0.6}},
            {"context_window": 8, "price_in": 0.2, "price_out": 0.6},
        ),
        (
            "fireworks",
            {"supports_chat": True, "supports_image_input": True, "supports_tools": False},
            {"supports_images": True, "supports_tools": False},
        ),
        (
            "moonshot",
            {"supports_image_in": True, "supports_reasoning": True},
            {"supports_images": True, "supports_reasoning": True},
        ),
        (
            "lmstudio",
            {"type": "vlm", "capabilities": ["tool_use"], "max_context_length": 9, "loaded_context_length": 4},
            {"supports_images": True, "supports_tools": True, "context_window": 4},
        ),
        (
            "vercel",
            {"type": "language", "tags": ["tool-use", "vision"], "pricing": {"input": "0.000003"}},
            {"supports_tools": True, "supports_images": True, "price_in": 3.0},
        ),
        (
            "github",
            {"supported_input_modalities": ["text"], "capabilities": ["tool-calling"], "limits": {"max_input_tokens": 5}},
            {"supports_images": False, "supports_tools": True, "context_window": 5},
        ),
        (
            "cloudflare",
            {
                "task": {"name": "Text Generation"},
                "properties": [
                    {"property_id": "context_window", "value": "24000"},
                    {"property_id": "function_calling", "value": "true"},
                ],
            },
            {"context_window": 24000, "supports_tools": True},
        ),
        (
            "xai",
            {
                "input_modalities": ["text", "image"],
                "output_modalities": ["text"],
                "prompt_text_token_price": 20000,
                "cached_prompt_text_token_price": 5000,
                "aliases": ["a-latest", "", "a"],
            },
            {"supports_images": True, "price_in": 2.0, "price_cache_read": 0.5, "aliases": ("a-latest",)},
        ),
        (
            "novita",
            {"model_type": "chat", "context_size": 7, "features": ["function-calling"], "input_token_price_per_m": 2700},
            {
                "context_window": 7,
                "supports_tools": True,
                "supports_json_schema": False,
                "supports_reasoning": False,
                "price_in": 0.27,
            },
        ),
        (
            "deepinfra",
            {
                "metadata": {
                    "context_length": 6,
                    "max_tokens": 4,
                    "tags": ["vision"],
                    "pricing": {"input_tokens": 0.1, "output_tokens": 0.4, "cache_read_tokens": 0.05},
                },
            },
            {
                "context_window": 6,
                "price_in": 0.1,
                "price_out": 0.4,
                "price_cache_read": 0.05,
                "max_output_tokens": 4,
                "supports_images": True,
            },
        ),
        (
            "watsonx",
            {"functions": [{"id": "text_chat"}], "model_limits": {"max_sequence_length": 131072}},
            {"context_window": 131072},
        ),
        ("databricks", {"task": "llm/v1/chat"}, {}),
        ("heroku", {"type": ["text-to-text"], "state": "active"}, {}),
        ("llamacpp", {"meta": {"n_ctx_train": 4096}}, {"context_window": 4096}),
        ("vllm", {"max_model_len": 32768}, {"context_window": 32768}),
        ("groq", {"context_window": "many", "pricing": {"prompt": "free"}, "capabilities": None, "providers": 5}, {}),
    ],
)
def test_what_a_list_states_is_read(vendor, entry, expected):
    found = model_of(VENDORS[vendor], {VENDORS[vendor].id: "a", **entry})
    if vendor == "groq" and "supported_features" in entry:
        expected = {**expected, "supports_reasoning": False, "supports_audio": False, "supports_files": False}
    assert found is not None
    told, expected = {name: getattr(found, name) for name in expected}, dict(expected)
    assert (told.pop("aliases", None), told) == (expected.pop("aliases", None), pytest.approx(expected))
    unknown = ("supports_tools", "supports_images", "supports_json_schema", "supports_reasoning", "context_window", "price_in")
    if vendor not in {"openrouter", "baseten", "huggingface"}:
        assert {name: getattr(found, name) for name in unknown if name not in expected} == {
            name: None for name in unknown if name not in expected
        }


@pytest.mark.parametrize(
    ("vendor", "entry"),
    [
        ("groq", {"id": "whisper-large-v3"}),
        ("litellm", {"id": "mistral/mistral-ocr-latest"}),
        ("groq", {"id": "m", "active": False}),
        ("fireworks", {"id": "flux", "supports_chat": False}),
        ("openrouter", {"id": "m", "architecture": {"output_modalities": ["image"]}}),
        ("cloudflare", {"name": "m", "task": {"name": "Text-to-Image"}}),
        ("watsonx", {"model_id": "m", "functions": [{"id": "text_generation"}]}),
        ("vllm", {"id": " "}),
        ("heroku", {"model_id": "amazon-rerank-1-0", "type": ["text-to-score"]}),
    ],
)
def test_models_without_chat_are_left_out(vendor, entry):
    assert model_of(VENDORS[vendor], entry) is None


@pytest.mark.parametrize("name", ["qwen-vl-ocr", "deepseek-ai/DeepSeek-OCR"])
def test_models_that_read_images_of_text_chat(name):
    assert model_of(VENDORS["alibaba"], {"id": name}).supports_stream


@pytest.mark.parametrize(
    ("vendor", "entry"),
    [
        ("together", {"id": "m", "type": "embedding", "context_length": 512}),
        ("novita", {"id": "m", "model_type": "embedding", "context_size": 512}),
        ("databricks", {"name": "m", "task": "llm/v1/embeddings", "context_length": 512}),
        ("nvidia", {"id": "nv-embedqa-e5", "context_length": 512}),
        ("heroku", {"model_id": "cohere-embed-multilingual", "type": ["text-to-embedding"], "context_length": 512}),
    ],
)
def test_models_of_embeddings_are_listed_as_such(vendor, entry):
    found = model_of(VENDORS[vendor], entry)
    assert (found.supports_embeddings, found.supports_stream, found.context_window) == (True, None, 512)


@pytest.mark.parametrize(
    ("vendor", "base", "target"),
    [
        ("groq", "/openai/v1", "/openai/v1/models"),
        ("xai", "/v1", "/v1/language-models"),
        ("cloudflare", "/client/v4/accounts/a/ai/v1", "/client/v4/accounts/a/ai/models/search"),
        ("databricks", "/serving-endpoints", "/api/2.0/serving-endpoints"),
        ("github", "/orgs/acme/inference", "/catalog/models"),
        ("watsonx", "", "/ml/v1/foundation_model_specs?version=2025-02-11&limit=200"),
        ("lmstudio", "/v1", "/api/v0/models"),
        ("heroku", "/v1", "/available-models"),
    ],
)
def test_the_list_is_asked_for_at_the_vendors_place(vendor, base, target):
    row = VENDORS[vendor]
    with FaultServer(http_response(200, {row.entries: [{row.id: "a"}]})) as server:
        options = {"api_version": "2025-02-11"} if vendor == "watsonx" else {}
        found = discover(ProviderConfig(name=vendor, url=server.url + base, api_key="k-0123456789", options=options))
    assert found == [ModelInfo("a", supports_stream=True)]
    assert server.requests[0].target == target
    assert server.requests[0].header("authorization") == ("" if vendor == "watsonx" else "Bearer k-0123456789")
