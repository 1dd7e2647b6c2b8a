"""What `providerhub conformance echo` runs; needs the core's extra `testing`."""

from providerhub.testing.conformance import NoWire, ProviderConformance


class EchoConformance(ProviderConformance):
    """The kit's checks of this provider."""

    provider = "echo"
    wire = NoWire()
