"""Embeddings: the requests that are written, and the answers that are read."""

import pytest

from providerhub import CallContext, CapabilityError, EmbeddingRequest, ProviderConfig, Timeout
from providerhub.testing import FaultServer, http_response
from providerhub_bedrock.provider import Bedrock


def _call():
    return CallContext(Timeout(total=10))


def _embed(server, model, **more):
    made = Bedrock(ProviderConfig(name="bedrock", url=server.url, api_key="k", options={"region": "eu-west-1"}))
    try:
        return made.embed(EmbeddingRequest(model, (), texts=("a", "b"), **more), _call())
    finally:
        made.close()


def test_a_model_of_amazon_gets_one_text_in_a_request():
    with FaultServer(lambda _: http_response(200, {"embedding": [1.0], "inputTextTokenCount": 3})) as server:
        found = _embed(server, "amazon.titan-embed-text-v2:0", dimensions=256)
    assert (found.vectors, found.usage.input_tokens) == ([[1.0], [1.0]], 6)
    assert [request.json() for request in server.requests] == [{"inputText": text, "dimensions": 256} for text in "ab"]
    assert server.requests[0].target == "/model/amazon.titan-embed-text-v2%3A0/invoke"


@pytest.mark.parametrize("embeddings", [[[1.0], [2.0]], {"float": [[1.0], [2.0]]}])
def test_a_model_of_cohere_gets_all_texts(embeddings):
    with FaultServer(lambda _: http_response(200, {"embeddings": embeddings})) as server:
        found = _embed(server, "eu.cohere.embed-v4:0", options={"input_type": "clustering"})
    assert (found.vectors, found.usage) == ([[1.0], [2.0]], None)
    assert server.requests[0].json() == {"texts": ["a", "b"], "input_type": "clustering", "embedding_types": ["float"]}


def test_a_model_of_another_maker_is_refused():
    with FaultServer() as server, pytest.raises(CapabilityError, match=r"use a model of amazon\.titan-embed or cohere.embed"):
        _embed(server, "amazon.nova-lite-v1:0")
    assert server.requests == []
