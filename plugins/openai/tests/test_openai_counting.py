"""Counts of tokens: the requests that are written, and the answers that are read."""

import asyncio

import pytest

from providerhub import CapabilityError, ProviderConfig, Request
from providerhub.testing import FaultServer, http_response
from providerhub_openai.azure_provider import Azure
from providerhub_openai.provider import OpenAI

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("aio", [False, True])
def test_the_responses_api_counts(aio):
    with FaultServer(http_response(200, {"object": "response.input_tokens", "input_tokens": 11})) as server:
        made = OpenAI(ProviderConfig(name="openai", url=server.url, api_key="k", options={"api": "responses"}))
        request = Request("gpt-9", MESSAGES, max_tokens=9, temperature=0.5, stop=("END",), seed=3, tool_choice="none")

        async def later():
            found = await made.acount_tokens(request)
            await made.aclose()
            return found

        assert (asyncio.run(later()) if aio else made.count_tokens(request)) == 11
        made.close()
    (asked,) = server.requests
    assert asked.target == "/v1/responses/input_tokens"
    assert asked.json().keys() == {"model", "instructions", "input", "tool_choice"}


@pytest.mark.parametrize(("kind", "said"), [(OpenAI, "set api = 'responses'"), (Azure, "Azure does not count")])
def test_a_service_that_does_not_count_is_not_asked(kind, said):
    with FaultServer() as server:
        made = kind(ProviderConfig(name="openai", url=server.url, api_key="k"))
        with pytest.raises(CapabilityError, match=said):
            made.count_tokens(Request("gpt-9", MESSAGES))
        made.close()
    assert server.requests == []
