"""What `providerhub conformance llm` runs, with `llm-echo` beside it; needs `providerhub-conformance`."""

from providerhub_conformance import NoWire, ProviderConformance


class LlmConformance(ProviderConformance):
    """The kit's checks of this provider, at the model that `llm-echo` brings."""

    provider = "llm"
    wire = NoWire()
    model = "echo"
