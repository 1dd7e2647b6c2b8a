"""Counts of tokens: the requests that are written, and the answers that are read."""

import asyncio

import pytest

from providerhub import ProviderConfig, Request
from providerhub.testing import FaultServer, http_response
from providerhub_gemini.provider import Gemini, Vertex

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "systemInstruction": {"parts": [{"text": "Be brief."}]}}


@pytest.mark.parametrize("aio", [False, True])
@pytest.mark.parametrize(
    ("kind", "target", "body"),
    [
        (
            Gemini,
            "/v1beta/models/gemini-9:countTokens",
            {
                "generateContentRequest": {
                    "model": "models/gemini-9",
                    **CONTENTS,
                    "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
                }
            },
        ),
        (Vertex, "/v1beta1/publishers/google/models/gemini-9:countTokens", CONTENTS),
    ],
)
def test_the_whole_input_is_counted(kind, target, body, aio):
    with FaultServer(http_response(200, {"totalTokens": 31})) as server:
        made = kind(ProviderConfig(name="g", url=server.url, api_key="k"))
        request = Request("gemini-9", MESSAGES, tool_choice="none")

        async def later():
            found = await made.acount_tokens(request)
            await made.aclose()
            return found

        assert (asyncio.run(later()) if aio else made.count_tokens(request)) == 31
        made.close()
    assert (server.requests[0].target, server.requests[0].json()) == (target, body)
