"""Embeddings: the requests that are written, and the answers that are read."""

import pytest

from providerhub import CallContext, EmbeddingRequest, ProviderConfig, Timeout
from providerhub.testing import FaultServer, http_response
from providerhub_openai.azure_provider import Azure

BODY = {"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 2}}


@pytest.mark.parametrize(
    ("version", "target"),
    [
        (None, "/openai/v1/embeddings"),
        ("2024-10-21", "/openai/deployments/vectors/embeddings?api-version=2024-10-21"),
    ],
)
def test_a_deployment_at_azure(version, target):
    options = {"api_version": version} if version else {}
    with FaultServer(http_response(200, BODY)) as server:
        made = Azure(ProviderConfig(name="azure", url=server.url, api_key="k", options=options))
        found = made.embed(EmbeddingRequest("vectors", (), texts=("a", "b")), CallContext(Timeout(total=10)))
        made.close()
    assert (found.vectors, found.usage.input_tokens) == ([[1.0], [2.0]], 2)
    assert server.requests[0].target == target
    assert server.requests[0].header("api-key") == "k"
    assert server.requests[0].json()["input"] == ["a", "b"]
