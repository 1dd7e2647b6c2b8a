"""LiteLLM's proxy with invented answers: its chat completions, and its Messages API."""

import pytest

import providerhub
from providerhub_openai.provider import OpenAI

TEXT = "Hello from the other side"


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer(litellm, hub_at, ask, stream):
    tokens, answer = ask(hub_at("openai", litellm), "openai/mock", stream=stream)
    assert answer.text == TEXT
    assert answer.finish_reason == "stop"
    assert answer.usage.output_tokens > 0
    if stream:
        assert len(tokens) > 1
        assert "".join(tokens) == TEXT


def test_its_models_are_listed(litellm):
    found = OpenAI.discover(providerhub.ProviderConfig(name="openai", url=litellm, api_key="sk-interop-0123456789"))
    assert {"mock", "mock-claude", "busy", "broken", "full"} <= {model.name for model in found}


def test_a_name_that_only_the_gateway_knows_is_found(litellm, hub_at):
    assert hub_at("openai", litellm).complete("mock", "Hello").provider == "openai"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("busy", providerhub.RateLimitError),
        ("broken", providerhub.ServerError),
        ("full", providerhub.ContextLengthError),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_its_failures_are_classed(litellm, hub_at, ask, model, expected, stream):
    with pytest.raises(expected):
        ask(hub_at("openai", litellm), f"openai/{model}", stream=stream)


@pytest.mark.parametrize(("plugin", "model"), [("openai", "mock"), ("anthropic", "mock-claude")])
def test_a_wrong_key(litellm, hub_at, ask, plugin, model):
    # Without a database, the proxy cannot look up other keys, and answers with the code `no_db_connection` and status 400.
    with pytest.raises(providerhub.AuthenticationError) as caught:
        ask(hub_at(plugin, litellm, api_key="sk-canary-wrong-key", models=[model]), f"{plugin}/{model}")
    assert "canary" not in str(caught.value) + caught.value.excerpt


def test_a_model_that_the_gateway_lacks(litellm, hub_at, ask):
    with pytest.raises((providerhub.ModelNotFoundError, providerhub.BadRequestError)):
        ask(hub_at("openai", litellm, models=["no-such-model"]), "openai/no-such-model")


@pytest.mark.parametrize("stream", [True, False])
def test_the_messages_api(litellm, hub_at, ask, stream):
    _, answer = ask(hub_at("anthropic", litellm, models=["mock-claude"]), "anthropic/mock-claude", stream=stream)
    assert answer.text == TEXT
    assert answer.finish_reason == "stop"
    assert answer.usage.output_tokens is not None
