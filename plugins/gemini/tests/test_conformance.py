"""The kit's checks."""

from providerhub_gemini.conformance import GeminiConformance, VertexConformance


class TestGemini(GeminiConformance):
    pass


class TestVertex(VertexConformance):
    pass
