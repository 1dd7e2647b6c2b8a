"""The conformance suite that `providerhub conformance llm` runs. It needs `providerhub-conformance` and `llm-echo`."""

from providerhub_conformance import NoWire, ProviderConformance


class LlmConformance(ProviderConformance):
    """All checks of the conformance kit, for the model of `llm-echo`."""

    provider = "llm"
    wire = NoWire()
    model = "echo"
