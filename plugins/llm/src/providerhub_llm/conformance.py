"""What `providerhub conformance llm` runs, with `llm-echo` beside it; needs the core's extra `testing`."""

from providerhub.testing.conformance import NoWire, ProviderConformance


class LlmConformance(ProviderConformance):
    """The kit's checks of this provider, at the model that `llm-echo` brings."""

    provider = "llm"
    wire = NoWire()
    model = "echo"
