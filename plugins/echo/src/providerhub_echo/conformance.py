"""What `providerhub conformance echo` runs; needs `providerhub-conformance`."""

from providerhub_conformance import NoWire, ProviderConformance


class EchoConformance(ProviderConformance):
    """The kit's checks of this provider."""

    provider = "echo"
    wire = NoWire()
