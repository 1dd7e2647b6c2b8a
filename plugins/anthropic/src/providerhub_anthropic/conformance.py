"""What `providerhub conformance anthropic` runs; needs `providerhub-conformance`."""

from providerhub_conformance import AnthropicWire, ProviderConformance


class AnthropicConformance(ProviderConformance):
    """The kit's checks of this provider."""

    provider = "anthropic"
    wire = AnthropicWire()
