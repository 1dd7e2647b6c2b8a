"""Counts of tokens: the requests that are written, and the answers that are read."""

import asyncio

import pytest

from providerhub import CapabilityError, ProviderConfig, Request
from providerhub.testing import FaultServer, http_response
from providerhub_bedrock.provider import Bedrock

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("aio", [False, True])
@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("anthropic.claude-v2:1", "anthropic.claude-v2%3A1"),
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic.claude-haiku-4-5-20251001-v1%3A0"),
        ("deepseek.v3.1", "deepseek.v3.1"),
    ],
)
def test_the_service_knows_models_and_no_profiles_of_a_region(model, path, aio):
    with FaultServer(http_response(200, {"inputTokens": 11})) as server:
        made = Bedrock(ProviderConfig(name="bedrock", url=server.url, api_key="k"))
        request = Request(model, MESSAGES, max_tokens=9, temperature=0.5)

        async def later():
            found = await made.acount_tokens(request)
            await made.aclose()
            return found

        assert (asyncio.run(later()) if aio else made.count_tokens(request)) == 11
        made.close()
    (asked,) = server.requests
    assert asked.target == f"/model/{path}/count-tokens"
    said = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "system": [{"text": "Be brief."}]}
    assert asked.json() == {"input": {"converse": said}}


def test_a_model_that_the_service_does_not_count_for_leads_to_another_one():
    refusal = http_response(400, {"message": "The provided model doesn't support counting tokens."})
    with FaultServer(refusal) as server:
        made = Bedrock(ProviderConfig(name="bedrock", url=server.url, api_key="k"))
        with pytest.raises(CapabilityError, match="name the model itself, or another provider"):
            made.count_tokens(Request("amazon.nova-lite-v1:0", MESSAGES))
        made.close()
