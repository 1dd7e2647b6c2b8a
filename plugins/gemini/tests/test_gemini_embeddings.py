"""Embeddings: the requests that are written, and the answers that are read."""

import asyncio

import pytest

from providerhub import CallContext, EmbeddingRequest, ProtocolError, ProviderConfig, Timeout
from providerhub.testing import FaultServer, http_response
from providerhub_gemini.provider import Gemini, Vertex


def _call():
    return CallContext(Timeout(total=10))


def _request(model="gemini-embedding-001", **more):
    return EmbeddingRequest(model, (), texts=("a", "b"), **more)


def _both(config, request):
    made = (Vertex if config.name == "vertex" else Gemini)(config)
    found = made.embed(request, _call())

    async def again():
        result = await made.aembed(request, _call())
        await made.aclose()
        return result

    assert asyncio.run(again()) == found
    made.close()
    return found


def test_ai_studio_gets_all_texts_in_one_request():
    body = {"embeddings": [{"values": [1.0]}, {"values": [2.0]}]}
    with FaultServer(lambda _: http_response(200, body)) as server:
        config = ProviderConfig(name="gemini", url=server.url, api_key="k")
        found = _both(config, _request(dimensions=8, options={"taskType": "CLUSTERING"}))
    assert (found.vectors, found.usage) == ([[1.0], [2.0]], None)
    assert server.requests[0].target == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    one = {"model": "models/gemini-embedding-001", "outputDimensionality": 8, "taskType": "CLUSTERING"}
    assert server.requests[0].json() == {"requests": [{**one, "content": {"parts": [{"text": text}]}} for text in "ab"]}


@pytest.mark.parametrize(("model", "requests"), [("text-embedding-005", 1), ("gemini-embedding-001", 2)])
def test_vertex_gets_one_text_in_a_request_where_the_model_takes_no_more(model, requests):
    def reply(request):
        texts = request.json()["instances"]
        entry = {"embeddings": {"values": [1.0], "statistics": {"token_count": 3}}}
        return http_response(200, {"predictions": [entry] * len(texts)})

    with FaultServer(reply) as server:
        found = _both(ProviderConfig(name="vertex", url=server.url, api_key="k"), _request(model, dimensions=8))
    assert (found.vectors, found.usage.input_tokens) == ([[1.0], [1.0]], 6)
    assert len(server.requests) == 2 * requests
    assert server.requests[0].target == f"/v1beta1/publishers/google/models/{model}:predict"
    assert server.requests[0].json()["parameters"] == {"autoTruncate": False, "outputDimensionality": 8}


def test_another_answer_is_an_error():
    with FaultServer(lambda _: http_response(200, {"embedding": {}})) as server, pytest.raises(ProtocolError):
        Gemini(ProviderConfig(name="gemini", url=server.url, api_key="k")).embed(_request(), _call())
