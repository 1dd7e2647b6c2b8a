"""What `providerhub conformance lockchat` runs; needs the core's extra `testing`."""

from providerhub.testing.conformance import OpenAIChatWire, ProviderConformance


class LockchatConformance(ProviderConformance):
    """The kit's checks of this provider."""

    provider = "lockchat"
    wire = OpenAIChatWire()
