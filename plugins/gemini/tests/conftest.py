"""One way to ask, synchronously and asynchronously, whole and streamed."""

import asyncio
import json

import pytest

import providerhub
from providerhub.testing import FaultServer, chunked, http_response

VARIABLES = (
    "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION",
    "GOOGLE_CLOUD_REGION", "GOOGLE_VERTEX_BASE_URL", "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def hub_at(url, name="gemini", **config):
    config = {"api_key": "a-key-for-this-test", **config}
    settings = providerhub.Settings(
        providers={name: providerhub.ProviderConfig(url=url, **config)},
        allow=(name,),
        retry=providerhub.RetryPolicy(attempts=1, attempts_per_provider=1),
    )
    return providerhub.Hub(settings)


def sse(*objects):
    return [f"data: {json.dumps(one)}\n\n".encode() for one in objects]


def said(*parts, reason="STOP", **fields):
    """An answer of one candidate. Fields that begin with a capital letter belong to the answer, others to the candidate."""
    own = {name[0].lower() + name[1:]: fields.pop(name) for name in list(fields) if name[0].isupper()}
    candidate = {"content": {"role": "model", "parts": list(parts)}, **({"finishReason": reason} if reason else {}), **fields}
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": "gemini-9", **own}


def ask(script, messages="?", *, stream=False, aio=False, model="gemini-2.5-flash", name="gemini", hub=None, **knobs):
    async def run(made):
        found = await made.acomplete(f"{name}/{model}", messages, stream=stream, **knobs)
        if stream:
            [_ async for _ in found.events()]
            found = found.completion
        await made.aclose()
        return found

    with FaultServer(script) as server, (hub or hub_at)(server.url, name) as made:
        if aio:
            return asyncio.run(run(made)), server
        found = made.complete(f"{name}/{model}", messages, stream=stream, **knobs)
        if stream:
            list(found.events())
            found = found.completion
        return found, server


WAYS = [(False, False), (True, False), (False, True), (True, True)]
EVERY_WAY = pytest.mark.parametrize(("stream", "aio"), WAYS, ids=["whole", "streamed", "whole, async", "streamed, async"])


def script_of(objects, *, stream):
    """The objects as a stream, or the only one as a whole answer."""
    return chunked(sse(*objects)) if stream else http_response(200, objects[0])
