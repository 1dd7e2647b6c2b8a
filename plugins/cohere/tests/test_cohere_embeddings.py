"""Embeddings: the requests that are written, and the answers that are read."""

import pytest

from providerhub import Hub, Model, ProtocolError, ProviderConfig, Settings
from providerhub.testing import FaultServer, http_response


def test_the_texts_are_documents_unless_an_option_says_otherwise():
    body = {"embeddings": {"float": [[1.0], [2.0]]}, "meta": {"billed_units": {"input_tokens": 3}}}
    with FaultServer(lambda _: http_response(200, body)) as server:
        settings = Settings(providers={"cohere": ProviderConfig(url=server.url, api_key="k")})
        with Hub(settings) as hub:
            found = hub.embed(Model("embed-v4.0", "cohere"), ["a", "b"], dimensions=256)
            hub.embed(Model("embed-v4.0", "cohere"), ["a", "b"], options={"cohere": {"input_type": "search_query"}})
    assert (found.vectors, found.usage.input_tokens) == ([[1.0], [2.0]], 3)
    first, second = (request.json() for request in server.requests)
    assert server.requests[0].target == "/v2/embed"
    assert first == {
        "model": "embed-v4.0", "texts": ["a", "b"], "embedding_types": ["float"], "output_dimension": 256,
        "input_type": "search_document", "truncate": "NONE",
    }  # fmt: skip
    assert second["input_type"] == "search_query"


@pytest.mark.parametrize("body", [{"embeddings": [[1.0]]}, {"id": "1"}, []])
def test_vectors_in_another_shape_are_refused(body):
    """Version 1 of the API answers with a list."""
    with FaultServer(lambda _: http_response(200, body)) as server:
        settings = Settings(providers={"cohere": ProviderConfig(url=server.url, api_key="k")})
        with Hub(settings) as hub, pytest.raises(ProtocolError, match="0 vectors for 1 texts"):
            hub.embed(Model("embed-v4.0", "cohere"), "a")
