"""Counting of tokens: the request that is written, and the answers that are read."""

import asyncio
import base64
import json

import pytest

from providerhub import AuthenticationError, ProtocolError, ProviderConfig, Request
from providerhub.testing import FaultServer, http_response
from providerhub_anthropic.bedrock_provider import AnthropicBedrock
from providerhub_anthropic.provider import AnthropicItself
from providerhub_anthropic.vertex_provider import AnthropicVertex

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


async def _later(made, request):
    try:
        return await made.acount_tokens(request)
    finally:
        await made.aclose()


def _count(*answers, request=None, aio=False):
    with FaultServer(*answers) as server:
        made = AnthropicItself(ProviderConfig(name="anthropic", url=server.url, api_key="canary"))
        try:
            asked = request or Request("claude-9", MESSAGES)
            return (asyncio.run(_later(made, asked)) if aio else made.count_tokens(asked)), server.requests
        finally:
            made.close()


@pytest.mark.parametrize("aio", [False, True])
def test_the_whole_input_is_counted(aio):
    request = Request("claude-9", MESSAGES, stream=True, max_tokens=9, temperature=1, stop=("x",), tools=[TOOL])
    count, (asked,) = _count(http_response(200, {"input_tokens": 42}), request=request, aio=aio)
    assert (count, asked.target, asked.header("x-api-key")) == (42, "/v1/messages/count_tokens", "canary")
    assert asked.json().keys() == {"model", "messages", "system", "tools"}


@pytest.mark.parametrize("body", [{}, [], {"input_tokens": "many"}])
def test_an_answer_without_a_count_is_an_error(body):
    with pytest.raises(ProtocolError):
        _count(http_response(200, body))


@pytest.mark.parametrize("aio", [False, True])
def test_a_refusal_is_classed_and_holds_no_key(aio):
    body = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key canary"}}
    with pytest.raises(AuthenticationError) as raised:
        _count(http_response(401, body), aio=aio)
    assert "canary" not in str(raised.value)


def test_bedrock_counts_the_body_of_an_invocation_by_the_name_of_the_model():
    with FaultServer(http_response(200, {"inputTokens": 5})) as server:
        made = AnthropicBedrock(ProviderConfig(name="anthropic-bedrock", url=server.url, api_key="k"))
        count = made.count_tokens(Request("us.anthropic.claude-sonnet-4-5-20250929-v1:0", MESSAGES, tools=[TOOL]))
        made.close()
    (asked,) = server.requests
    assert (count, asked.target) == (5, "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens")
    body = json.loads(base64.b64decode(asked.json()["input"]["invokeModel"]["body"]))
    assert body.keys() == {"anthropic_version", "max_tokens", "messages", "system", "tools"}


@pytest.mark.parametrize("aio", [False, True])
def test_vertex_counts_at_a_path_of_its_own(aio):
    with FaultServer(http_response(200, {"input_tokens": 6})) as server:
        options = {"project": "p", "location": "us-east5"}
        made = AnthropicVertex(ProviderConfig(name="anthropic-vertex", url=server.url, api_key="k", options=options))
        request = Request("claude-sonnet-4-5@20250929", MESSAGES, max_tokens=7)
        count = asyncio.run(_later(made, request)) if aio else made.count_tokens(request)
        made.close()
    (asked,) = server.requests
    place = "/v1/projects/p/locations/us-east5/publishers/anthropic/models"
    assert (count, asked.target) == (6, f"{place}/count-tokens:rawPredict")
    assert asked.json().keys() == {"anthropic_version", "model", "messages", "system"}
