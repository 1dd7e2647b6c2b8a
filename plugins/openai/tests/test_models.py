"""The lists of models of several services, each with its own fields."""

import pytest

import providerhub
from providerhub import ModelInfo, ProviderConfig
from providerhub.testing import FaultServer, http_response
from providerhub_openai.models import openai_model
from providerhub_openai.provider import OpenAI

CANARY = "canary-key-0123456789"


def listed(body, path="/v1", **config):
    with FaultServer(http_response(200, body)) as server:
        found = OpenAI.discover(ProviderConfig(name="openai", url=server.url + path, **config))
    return found, server.requests[0]


@pytest.mark.parametrize(("path", "target"), [("", "/v1/models"), ("/v1", "/v1/models"), ("/openai/v1/", "/openai/v1/models")])
def test_the_service_is_asked_with_the_key(path, target):
    found, request = listed({"data": [{"id": "a"}]}, path, api_key=CANARY)
    assert found == [ModelInfo("a", supports_stream=True)]
    assert (request.method, request.target, request.header("authorization")) == ("GET", target, f"Bearer {CANARY}")


def test_a_bare_list_is_accepted_and_entries_without_a_name_are_skipped():
    found, _ = listed('[{"id": "a"}, {"id": " "}, {"object": "model"}, 5]')
    assert [model.name for model in found] == ["a"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"max_model_len": 32768}, {"context_window": 32768}),
        ({"context_window": 8192}, {"context_window": 8192}),
        ({"meta": {"n_ctx_train": 4096}}, {"context_window": 4096}),
        (
            {"max_context_length": 131072, "capabilities": {"function_calling": True, "vision": False}},
            {"context_window": 131072, "supports_tools": True, "supports_images": False},
        ),
        (
            {
                "context_length": 200000,
                "architecture": {"input_modalities": ["text", "image"]},
                "supported_parameters": ["tools", "structured_outputs"],
                "pricing": {"prompt": "0.000003", "completion": "0.000015"},
            },
            {
                "context_window": 200000,
                "supports_images": True,
                "supports_tools": True,
                "supports_json_schema": True,
                "price_in": pytest.approx(3.0),
                "price_out": pytest.approx(15.0),
            },
        ),
        ({"supported_parameters": [], "pricing": {"prompt": "-1"}}, {"supports_tools": False, "supports_json_schema": False}),
        (
            {"context_window": 9, "supported_features": ["tools", "json_schema"], "input_modalities": ["text", "image"]},
            {"context_window": 9, "supports_images": True, "supports_tools": True, "supports_json_schema": True},
        ),
        ({"context_length": True, "supported_features": "all"}, {}),
        ({"context_length": "many", "pricing": {"prompt": "free"}, "architecture": None, "capabilities": []}, {}),
    ],
)
def test_the_capabilities_that_a_service_states_are_used(entry, expected):
    (found,), _ = listed({"data": [{"id": "a", **entry}]})
    told = {name: getattr(found, name) for name in ModelInfo.__slots__ if hasattr(found, name)}
    silent = {name: getattr(ModelInfo("a", supports_stream=True), name) for name in told if not name.startswith("__")}
    assert {name: told[name] for name in silent} == {**silent, **expected}


def test_the_models_of_embeddings_of_another_service_come_last():
    found, _ = listed({"data": [{"id": "nomic-embed-text", "max_model_len": 2048}, {"id": "llama"}]})
    assert [(model.name, model.supports_embeddings, model.supports_stream) for model in found] == [
        ("llama", None, True),
        ("nomic-embed-text", True, None),
    ]


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("gpt-4o-mini", True),
        ("o3", True),
        ("ft:gpt-4o:org::1", True),
        ("chatgpt-4o-latest", True),
        ("gpt-4o-search-preview", True),
        ("gpt-4o-mini-search-preview-2025-03-11", True),
        ("gpt-5-search-api", True),
        ("gpt-4o-audio-preview", True),
        ("gpt-audio-mini", True),
        ("gpt-5-chat-latest", True),
        ("gpt-5-pro", False),
        ("gpt-5.1-codex", False),
        ("o3-deep-research", False),
        ("gpt-4o-realtime-preview", False),
        ("gpt-4o-mini-tts", False),
        ("gpt-image-1", False),
        ("gpt-3.5-turbo-instruct", False),
        ("o1-pro", False),
        ("whisper-1", False),
    ],
)
def test_only_the_chat_models_of_openai_are_listed(name, answers):
    assert (openai_model(name) is not None) is answers


def test_models_of_embeddings_are_listed_as_such():
    found = openai_model("text-embedding-3-small")
    assert (found.supports_embeddings, found.supports_stream, found.context_window) == (True, None, 8_192)


@pytest.mark.parametrize(
    ("name", "window", "images"),
    [("gpt-4.1-mini", 1_047_576, True), ("gpt-4-0613", 8_192, False), ("gpt-4-turbo", 128_000, True), ("gpt-9", None, None)],
)
def test_the_known_models_of_openai(name, window, images):
    assert openai_model(name) == ModelInfo(name, supports_stream=True, supports_images=images, context_window=window)


def test_the_api_decides_which_models_of_openai_are_listed():
    provider = OpenAI(ProviderConfig(name="openai", url="https://api.openai.com/v1", api_key=CANARY))
    assert provider.model({"id": "o1-pro"}) == openai_model("o1-pro", "auto")
    chat = OpenAI(ProviderConfig(name="openai", url="https://api.openai.com/v1", api_key=CANARY, options={"api": "chat"}))
    assert chat.model({"id": "o1-pro"}) is None
    assert openai_model("gpt-audio").supports_audio


@pytest.mark.parametrize("body", ["<html>", {"models": []}, {"data": {}}])
def test_an_invalid_list_is_an_error(body):
    with pytest.raises(providerhub.ProtocolError):
        listed(body)


def test_the_service_is_asked_for_an_undeclared_name():
    models = http_response(200, {"data": [{"id": "found"}]})
    answer = http_response(200, {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]})
    with FaultServer(models, answer) as server:
        settings = providerhub.Settings(
            providers={"local": ProviderConfig(plugin="openai", url=server.url)},
            allow=("openai",),
        )
        with providerhub.Hub(settings) as hub:
            assert hub.complete("found", "Hello").provider == "local"


def test_the_error_of_a_refused_listing_does_not_contain_the_key(caplog):
    refusal = http_response(401, {"error": {"message": f"wrong key {CANARY}"}})
    with FaultServer(refusal) as server, pytest.raises(providerhub.AuthenticationError) as caught:
        OpenAI.discover(ProviderConfig(name="openai", url=server.url, api_key=CANARY))
    assert CANARY not in str(caught.value) + caught.value.excerpt + caplog.text
    for body in ({"data": CANARY}, CANARY):
        with FaultServer(http_response(200, body)) as server, pytest.raises(providerhub.ProtocolError) as wrong:
            OpenAI.discover(ProviderConfig(name="openai", url=server.url, api_key=CANARY))
        assert CANARY not in str(wrong.value) + wrong.value.excerpt
