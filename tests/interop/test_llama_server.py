"""llama.cpp's own server, with a model of random numbers: what it says makes no sense, but how it says it is real."""

import json

import pytest

import providerhub

MODEL = "random"
LONG = "word " * 2000
SCHEMA = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
WIRES = {
    "chat": ("llamacpp", "/v1", {}),
    "responses": ("openai", "/v1", {"options": {"api": "responses"}}),
    "messages": ("anthropic", "", {}),
}
"""The three protocols that the server speaks."""


@pytest.fixture(params=WIRES)
def wire(request, llama_server, hub_at):
    """A hub for one protocol, and the name of the model there."""
    plugin, path, more = WIRES[request.param]
    return hub_at(plugin, llama_server() + path, models=[MODEL], **more), f"{plugin}/{MODEL}"


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer(wire, ask, stream):
    tokens, answer = ask(*wire, stream=stream, max_tokens=12, temperature=1.0)
    assert answer.text
    assert answer.finish_reason in {"length", "stop"}
    assert answer.usage.output_tokens > 0
    assert not stream or "".join(tokens) == answer.text


@pytest.mark.parametrize("stream", [True, False])
def test_a_conversation_that_does_not_fit(wire, ask, stream):
    with pytest.raises(providerhub.ContextLengthError):
        ask(*wire, LONG, stream=stream)


def test_a_wrong_key(llama_server, hub_at, ask):
    hub = hub_at("llamacpp", f"{llama_server()}/v1", api_key="sk-canary-wrong-key", models=[MODEL])
    with pytest.raises(providerhub.AuthenticationError) as caught:
        ask(hub, f"llamacpp/{MODEL}")
    assert "canary" not in str(caught.value) + caught.value.excerpt


def test_its_model_is_listed(llama_server, hub_at):
    hub = hub_at("llamacpp", f"{llama_server()}/v1")
    assert hub.refresh()
    (model,) = next(one.models for one in hub.instances() if one.name == "llamacpp")
    assert (model.name, model.aliases, model.context_window) == (MODEL, (), 512)


def test_an_answer_is_held_to_a_schema(llama_server, hub_at, ask):
    hub = hub_at("llamacpp", f"{llama_server()}/v1", models=[MODEL])
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    _, answer = ask(hub, f"llamacpp/{MODEL}", response_format=form, max_tokens=200, temperature=1.0)
    if answer.finish_reason == "stop":
        assert json.loads(answer.text)["n"] in {1, 2}


@pytest.mark.parametrize("stream", [True, False])
def test_a_conversation_with_a_tool(wire, ask, stream):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"n": 1}'}}
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "7"},
    ]
    _, answer = ask(*wire, messages, tools=[TOOL], stream=stream, max_tokens=8)
    assert answer.finish_reason in {"length", "stop", "tool_calls"}


def test_tokens_are_counted(llama_server, hub_at):
    hub = hub_at("anthropic", llama_server(), models=[MODEL])
    assert hub.count_tokens(f"anthropic/{MODEL}", "Hello").input_tokens > 1


def test_embeddings(llama_server, hub_at):
    hub = hub_at("llamacpp", f"{llama_server('embeddings')}/v1", models=[MODEL])
    found = hub.embed(f"llamacpp/{MODEL}", ["the fox", "a dog"])
    assert [len(vector) for vector in found.vectors] == [64, 64]
    with pytest.raises(providerhub.ContextLengthError):
        hub.embed(f"llamacpp/{MODEL}", [LONG])


def test_a_server_without_embeddings(llama_server, hub_at):
    with pytest.raises(providerhub.CapabilityError) as caught:
        hub_at("llamacpp", f"{llama_server()}/v1", models=[MODEL]).embed(f"llamacpp/{MODEL}", ["the fox"])
    assert caught.value.capability == "embeddings"


def test_an_image(llama_server, hub_at, ask):
    hub = hub_at("llamacpp", f"{llama_server()}/v1", models=[MODEL])
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(providerhub.CapabilityError) as caught:
        ask(hub, f"llamacpp/{MODEL}", [{"role": "user", "content": [image]}])
    assert caught.value.capability == "images"
