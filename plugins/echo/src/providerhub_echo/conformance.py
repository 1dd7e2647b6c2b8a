"""The conformance suite that `providerhub conformance echo` runs. It needs the package `providerhub-conformance`."""

from providerhub_conformance import NoWire, ProviderConformance


class EchoConformance(ProviderConformance):
    """All checks of the conformance kit, for this provider."""

    provider = "echo"
    wire = NoWire()
