"""Embeddings: the requests that are written, and the answers that are read."""

from providerhub import Hub, Model, ProviderConfig, Settings
from providerhub.testing import FaultServer, http_response


def test_the_dimensions_have_a_name_of_their_own():
    body = {"data": [{"index": 0, "embedding": [1.0, 2.0]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    with FaultServer(http_response(200, body)) as server:
        settings = Settings(providers={"mistral": ProviderConfig(url=server.url, api_key="k")})
        with Hub(settings) as hub:
            found = hub.embed(Model("codestral-embed", "mistral"), ["a"], dimensions=2)
    assert (found.vectors, found.usage.input_tokens) == ([[1.0, 2.0]], 3)
    assert server.requests[0].target == "/v1/embeddings"
    assert server.requests[0].json() == {"model": "codestral-embed", "input": ["a"], "output_dimension": 2}
