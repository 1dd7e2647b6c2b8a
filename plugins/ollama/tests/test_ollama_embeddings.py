"""Embeddings: the requests that are written, and the answers that are read."""

import asyncio

import pytest

from providerhub import Hub, Model, ProviderConfig, ProviderError, Settings
from providerhub.testing import FaultServer, http_response


def _ask(server, **options):
    settings = Settings(providers={"ollama": ProviderConfig(url=server.url, options=options)}, allow=["ollama"])
    return Hub(settings)


def test_a_text_is_never_cut_in_silence():
    body = {"embeddings": [[1.0], [2.0]], "prompt_eval_count": 4}
    with FaultServer(lambda _: http_response(200, body)) as server, _ask(server, num_ctx=2048) as hub:
        found = hub.embed(Model("nomic-embed-text", "ollama"), ["a", "b"], dimensions=8)
        again = asyncio.run(hub.aembed(Model("nomic-embed-text", "ollama"), ["a", "b"], dimensions=8))
    assert (found.vectors, found.usage.input_tokens) == ([[1.0], [2.0]], 4)
    assert again.vectors == found.vectors
    asked = [request for request in server.requests if request.target == "/api/embed"]
    assert asked[0].json() == {
        "model": "nomic-embed-text", "input": ["a", "b"], "truncate": False, "options": {"num_ctx": 2048}, "dimensions": 8,
    }  # fmt: skip
    assert asked[1].json() == asked[0].json()


@pytest.mark.parametrize("body", [[], {}, {"embeddings": [["x"], [1]]}])
def test_an_answer_without_vectors_is_an_error(body):
    with FaultServer(lambda _: http_response(200, body)) as server, _ask(server) as hub, pytest.raises(ProviderError):
        hub.embed(Model("nomic-embed-text", "ollama"), ["a", "b"])
