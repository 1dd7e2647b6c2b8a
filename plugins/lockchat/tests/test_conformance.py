"""The kit's checks."""

from providerhub.testing.conformance import OpenAIChatWire, ProviderConformance


class TestLockchat(ProviderConformance):
    provider = "lockchat"
    wire = OpenAIChatWire()
