"""The conformance suites that `providerhub conformance gemini` and `... vertex` run. They need `providerhub-conformance`."""

from providerhub_conformance import GeminiWire, ProviderConformance

_WAIVED = {
    "tool-results-carried": "the wire knows a call by its name and place; the service refuses identifiers that it did not give"
}


class GeminiConformance(ProviderConformance):
    """All checks of the conformance kit, for Google AI Studio."""

    provider = "gemini"
    wire = GeminiWire()
    waive = _WAIVED


class VertexConformance(ProviderConformance):
    """All checks of the conformance kit, for Vertex AI with a key of the express mode."""

    provider = "vertex"
    wire = GeminiWire()
    waive = _WAIVED
