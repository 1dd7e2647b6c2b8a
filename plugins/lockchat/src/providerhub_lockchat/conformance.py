"""What `providerhub conformance lockchat` runs; needs `providerhub-conformance`."""

from providerhub_conformance import OpenAIChatWire, ProviderConformance


class LockchatConformance(ProviderConformance):
    """The kit's checks of this provider."""

    provider = "lockchat"
    wire = OpenAIChatWire()
