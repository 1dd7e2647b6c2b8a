"""Counting of tokens: the request that is written, and the answers that are read."""

import pytest

from providerhub import AuthenticationError, CapabilityError, ProtocolError, ProviderConfig, Request
from providerhub.testing import FaultServer, http_response
from providerhub_anthropic.bedrock_provider import AnthropicBedrock
from providerhub_anthropic.provider import AnthropicItself

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


def _count(*answers, request=None):
    with FaultServer(*answers) as server:
        made = AnthropicItself(ProviderConfig(name="anthropic", url=server.url, api_key="canary"))
        try:
            return made.count_tokens(request or Request("claude-9", MESSAGES)), server.requests
        finally:
            made.close()


def test_the_whole_input_is_counted():
    request = Request("claude-9", MESSAGES, stream=True, max_tokens=9, temperature=1, stop=("x",), tools=[TOOL])
    count, (asked,) = _count(http_response(200, {"input_tokens": 42}), request=request)
    assert (count, asked.target, asked.header("x-api-key")) == (42, "/v1/messages/count_tokens", "canary")
    assert asked.json().keys() == {"model", "messages", "system", "tools"}


@pytest.mark.parametrize("body", [{}, [], {"input_tokens": "many"}])
def test_an_answer_without_a_count_is_an_error(body):
    with pytest.raises(ProtocolError):
        _count(http_response(200, body))


def test_a_refusal_is_classed_and_holds_no_key():
    body = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key canary"}}
    with pytest.raises(AuthenticationError) as raised:
        _count(http_response(401, body))
    assert "canary" not in str(raised.value)


def test_a_cloud_does_not_count():
    made = AnthropicBedrock(ProviderConfig(name="anthropic-bedrock", url="https://x.example", api_key="k"))
    with pytest.raises(CapabilityError):
        made.count_tokens(Request("claude-9", MESSAGES))
