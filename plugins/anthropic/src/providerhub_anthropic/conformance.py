"""What `providerhub conformance anthropic` runs; needs the core's extra `testing`."""

from providerhub.testing.conformance import AnthropicWire, ProviderConformance


class AnthropicConformance(ProviderConformance):
    """The kit's checks of this provider."""

    provider = "anthropic"
    wire = AnthropicWire()
