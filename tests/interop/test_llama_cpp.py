"""llama-cpp-python's server, with a model of random numbers: the texts make no sense, but the protocol is real."""

import pytest

import providerhub
from providerhub_openai.provider import OpenAI


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer(llama, hub_at, ask, stream):
    tokens, answer = ask(
        hub_at("openai", llama, api_key=None), "openai/random", stream=stream, max_tokens=12, seed=1, temperature=1.0
    )
    assert answer.text
    assert answer.finish_reason in {"length", "stop"}
    if stream:
        assert "".join(tokens) == answer.text
    else:
        assert answer.usage.output_tokens > 0


def test_its_model_is_listed(llama):
    found = OpenAI.discover(providerhub.ProviderConfig(name="openai", url=f"{llama}/v1"))
    assert [model.name for model in found] == ["random"]


def test_a_conversation_that_does_not_fit(llama, hub_at, ask):
    with pytest.raises(providerhub.ContextLengthError):
        ask(hub_at("openai", llama, api_key=None), "openai/random", "word " * 2000)


def test_a_stream_that_is_left_early_frees_the_server(llama, hub_at):
    hub = hub_at("openai", llama, api_key=None)
    with hub.complete("openai/random", "Hello", stream=True, max_tokens=200, temperature=1.0) as stream:
        next(stream)
    assert hub.complete("openai/random", "Hello", max_tokens=2).text is not None


def test_its_answers_held_to_a_schema(llama, hub_at, ask):
    import json

    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
    # The server's own form: a field `schema` beside `json_object`.
    form = {"type": "json_object", "schema": schema}
    _, answer = ask(hub_at("openai", llama, api_key=None), "openai/random", response_format=form, max_tokens=100, temperature=1.0)
    if answer.finish_reason == "stop":
        assert isinstance(json.loads(answer.text)["ok"], bool)
