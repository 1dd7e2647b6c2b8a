"""The plugin as installed."""

import asyncio

import pytest

import providerhub
import providerhub_echo


@pytest.fixture
def hub():
    with providerhub.Hub() as made:
        yield made


def asked(text, **knobs):
    return providerhub.Request("echo-1", [{"role": "user", "content": text}], **knobs)


def pieces(provider, request):
    return list(provider.stream(request, providerhub.CallContext(providerhub.Timeout())))


def test_it_is_found_through_its_entry_point(hub):
    record = next(record for record in hub.plugins() if record.name == "echo")
    assert (record.state, record.distribution) == ("ready", "providerhub-echo")


def test_a_whole_answer(hub):
    answer = hub.complete("echo-1", "Hello there")
    assert (answer.text, answer.provider, answer.model, answer.finish_reason) == ("Hello there ", "echo", "echo-1", "stop")


def test_words_come_one_by_one(hub):
    with hub.complete("echo/echo-1", "Hello there", stream=True) as stream:
        assert list(stream) == ["Hello ", "there "]


def test_asynchronously():
    async def ask():
        return await providerhub.Hub().acomplete("echo-1", "Hello there")

    assert asyncio.run(ask()).text == "Hello there "


def test_the_last_message_counts_and_its_parts_are_joined(hub):
    parts = [{"type": "text", "text": "and"}, {"type": "text", "text": "more"}]
    messages = [{"role": "user", "content": "first"}, {"role": "user", "content": parts}]
    assert hub.complete("echo-1", messages).text == "and more "


@pytest.mark.parametrize("parts", [[{"type": "image_url", "image_url": {"url": "data:,"}}]])
def test_unsupported_requests_go_to_another_provider(hub, parts):
    with pytest.raises(providerhub.NoCapableProviderError, match="no images"):
        hub.complete("echo-1", [{"role": "user", "content": parts}])


def test_a_message_of_tool_calls_only_has_no_words():
    provider = providerhub_echo.Echo(providerhub.ProviderConfig(name="echo"))
    request = providerhub.Request("echo-1", [{"role": "assistant", "content": None, "tool_calls": [{}]}])
    assert pieces(provider, request) == [providerhub.Finish("stop")]
