"""The conformance suite that `providerhub conformance anthropic` runs. It needs the package `providerhub-conformance`."""

from providerhub_conformance import AnthropicWire, ProviderConformance


class AnthropicConformance(ProviderConformance):
    """All checks of the conformance kit, for this provider."""

    provider = "anthropic"
    wire = AnthropicWire()
